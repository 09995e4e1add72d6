//! Arrays of `f32` from and to `.npy` files, through which runners get their inputs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::WriteNpyExt;
use std::fs::File;
use std::io::BufWriter;

/// The values of `<folder>/<name>.npy`, row by row.
///
/// # Errors
///
/// Where there is no such file, or it holds something else.
pub fn read(folder: &Path, name: &str) -> Result<Vec<f32>> {
    let path = folder.join(name).with_extension("npy");
    let array: ArrayD<f32> =
        ndarray_npy::read_npy(&path).with_context(|| format!("{}", path.display()))?;
    let is_by_rows = array.is_standard_layout();
    Ok(if is_by_rows { array.into_raw_vec_and_offset().0 } else { array.into_iter().collect() })
}

/// Writes values to `<folder>/<name>.npy`.
///
/// # Errors
///
/// Where the shape does not fit the values or the file cannot be written.
pub fn write(folder: &Path, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
    let path = folder.join(name).with_extension("npy");
    // ndarray takes the front of a slice that is too long.
    let expected: usize = shape.iter().product();
    ensure!(
        values.len() == expected,
        "{name}: {} values; {shape:?} takes {expected}",
        values.len()
    );
    let array = ArrayViewD::from_shape(IxDyn(shape), values)?;
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    array.write_npy(BufWriter::new(file)).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let values = [1.0, 2.5, -3.0, 0.0, 1e-30, 7.0];
        write(folder.path(), "x", &[2, 3], &values).unwrap();
        assert_eq!(read(folder.path(), "x").unwrap(), values);
        assert!(read(folder.path(), "y").is_err());
        assert!(write(folder.path(), "x", &[2, 2], &values).is_err());
    }
}
