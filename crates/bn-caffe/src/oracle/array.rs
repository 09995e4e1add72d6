//! Arrays from `.npy` files.

use std::path::Path;

use ndarray::ArrayViewD;
use ndarray_npy::{ViewElement, ViewNpyExt as _};

use crate::error::{Error, Result};

/// Shape and values of a `.npy` file, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<T> {
    /// The dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<T>,
}

/// An element that a `.npy` file can hold.
pub(crate) trait Number: ViewElement + Copy + bytemuck::Pod {}
impl Number for f32 {}
impl Number for f64 {}

/// Largest file that is read; a case of real layers has a few megabytes.
const MAX_BYTES: u64 = 1 << 31;

impl<T: Number> Array<T> {
    /// Reads a file. What its header claims is compared with its length, not allocated.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Oracle`] for another element type or a broken file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::Oracle { place: path.to_owned(), problem };
        let io = |source| Error::Io { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(io)?.len();
        if length > MAX_BYTES {
            return Err(wrong(format!("{length} bytes, expected at most {MAX_BYTES}")));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        // A view needs aligned values; the header is padded to 64 bytes, so an aligned start does.
        let mut aligned = vec![0u64; bytes.len().div_ceil(8)];
        let buffer = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut aligned)[..bytes.len()];
        buffer.copy_from_slice(&bytes);
        let view = ArrayViewD::<T>::view_npy(buffer).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { shape: view.shape().to_vec(), values: view.iter().copied().collect() })
    }
}
