//! Arrays of `f32` from and to `.npy` files.

use std::path::Path;

use anyhow::{Context, Result};
use ndarray::{ArrayD, IxDyn};

/// The values of `<folder>/<name>.npy`, row by row.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Vec<f32>> {
    let path = folder.join(name).with_extension("npy");
    let array: ArrayD<f32> =
        ndarray_npy::read_npy(&path).with_context(|| format!("{}", path.display()))?;
    Ok(array.into_iter().collect())
}

/// Writes values to `<folder>/<name>.npy`.
pub(crate) fn write(folder: &Path, name: &str, shape: &[usize], values: Vec<f32>) -> Result<()> {
    let path = folder.join(name).with_extension("npy");
    let array = ArrayD::from_shape_vec(IxDyn(shape), values)?;
    ndarray_npy::write_npy(&path, &array).with_context(|| format!("{}", path.display()))
}
