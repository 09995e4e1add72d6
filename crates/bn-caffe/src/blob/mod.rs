//! Blobs: the numbers of a layer, with their shape.
//!
//! A [`Blob`] read from a file holds a slice of the file's memory; values are converted when they
//! are asked for. Files hold them in five ways (`data` or `double_data`, packed or not, raw bytes of
//! half, single or double precision) and a blob hides which.

mod encode;
mod parse;
mod shape;

use half::f16;
use prost::bytes::Bytes;

pub use shape::Shape;

use crate::error::BlobProblem;

/// Precision in which a file holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE half precision (raw bytes; not in BVLC Caffe).
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl Element {
    /// Bytes of one value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Values as little-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packed {
    element: Element,
    bytes: Bytes,
}

impl Packed {
    fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    fn values(&self) -> Values<'_> {
        Values { element: self.element, bytes: &self.bytes }
    }
}

/// Shape and values of one blob. The number of values always equals the shape's product.
///
/// ```
/// use bn_caffe::blob::{Blob, Shape};
/// let blob = Blob::from_f32(Shape::new([2]).unwrap(), &[1.5, -2.0])?;
/// let again = Blob::parse(&blob.to_message())?;
/// assert_eq!(again.to_f32(), [1.5, -2.0]);
/// assert_eq!(again.shape().dims(), [2]);
/// # Ok::<(), bn_caffe::BlobProblem>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    shape: Shape,
    data: Packed,
    diff: Option<Packed>,
}

impl Blob {
    /// Makes a blob of single precision.
    ///
    /// # Errors
    /// [`BlobProblem::Count`] where the number of values is not the shape's product.
    pub fn from_f32(shape: Shape, values: &[f32]) -> Result<Self, BlobProblem> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(shape, Packed { element: Element::F32, bytes: bytes.into() }, None)
    }

    /// Makes a blob of double precision.
    ///
    /// # Errors
    /// [`BlobProblem::Count`] where the number of values is not the shape's product.
    pub fn from_f64(shape: Shape, values: &[f64]) -> Result<Self, BlobProblem> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(shape, Packed { element: Element::F64, bytes: bytes.into() }, None)
    }

    /// Makes a blob of values rounded to a precision; half is written as single, which every reader
    /// has. None where a finite value would become infinite, or one is not finite.
    ///
    /// # Errors
    /// [`BlobProblem::Count`] where the number of values is not the shape's product.
    pub(crate) fn rounded(
        shape: Shape,
        element: Element,
        values: &[f64],
    ) -> Result<Option<Self>, BlobProblem> {
        if element == Element::F64 {
            let finite = values.iter().all(|value| value.is_finite());
            return Ok(Some(Self::from_f64(shape, values)?).filter(|_| finite));
        }
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let finite = values.iter().all(|value| value.is_finite());
        Ok(Some(Self::from_f32(shape, &values)?).filter(|_| finite))
    }

    fn new(shape: Shape, data: Packed, diff: Option<Packed>) -> Result<Self, BlobProblem> {
        if data.len() != shape.count() {
            return Err(BlobProblem::Count {
                values: data.len(),
                expected: shape.count(),
                shape: shape.dims().to_vec(),
            });
        }
        Ok(Self { shape, data, diff })
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether an axis is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Precision of the values in the file.
    #[must_use]
    pub fn element(&self) -> Element {
        self.data.element
    }

    /// The values in order, each exactly.
    #[must_use]
    pub fn values(&self) -> Values<'_> {
        self.data.values()
    }

    /// The stored gradients, where the file has them.
    #[must_use]
    pub fn diff(&self) -> Option<Values<'_>> {
        self.diff.as_ref().map(Packed::values)
    }

    /// The values in single precision; doubles are rounded, as Caffe does for a float net.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        match self.data.element {
            Element::F32 => {
                self.data.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(array(b))).collect()
            }
            _ => self.values().map(|v| v as f32).collect(),
        }
    }

    /// The values in double precision.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        self.values().collect()
    }
}

/// Values of a blob as `f64`, in which each precision is exact.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    element: Element,
    bytes: &'a [u8],
}

impl Iterator for Values<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let (value, rest) = self.bytes.split_at_checked(self.element.size())?;
        self.bytes = rest;
        Some(match self.element {
            Element::F16 => f16::from_le_bytes(array(value)).to_f64(),
            Element::F32 => f64::from(f32::from_le_bytes(array(value))),
            Element::F64 => f64::from_le_bytes(array(value)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.bytes.len() / self.element.size();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// Copies a slice whose length is `N` by construction.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}
