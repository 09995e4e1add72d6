//! From bytes to values: memory is taken only for bytes that are known to be there.

use std::io::Read;

use bn_core::{Element, Scalar};

use super::TensorError;

/// The order of the bytes of a value in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// That of this machine.
    pub(crate) const NATIVE: Self =
        if cfg!(target_endian = "little") { Self::Little } else { Self::Big };
}

/// The number of values and of bytes that a shape takes.
pub(crate) fn extent(dims: &[usize], size: usize) -> Result<(usize, u64), TensorError> {
    // A zero anywhere makes the tensor empty, however large the others are.
    if dims.contains(&0) {
        return Ok((0, 0));
    }
    let too_large = || TensorError::TooLarge { dims: dims.to_vec() };
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let count = count.ok_or_else(too_large)?;
    let bytes = count.checked_mul(size).filter(|&bytes| bytes <= isize::MAX as usize);
    Ok((count, bytes.ok_or_else(too_large)? as u64))
}

/// A buffer of `len` bytes read from `reader`.
pub(crate) fn read_exactly(reader: &mut impl Read, len: usize) -> Result<Vec<u8>, TensorError> {
    let mut buffer = zeros::<u8>(len)?;
    reader.read_exact(&mut buffer)?;
    Ok(buffer)
}

/// `count` values of `T` read from `reader`.
pub(crate) fn read_values<T: Element>(
    reader: &mut impl Read,
    count: usize,
    order: ByteOrder,
) -> Result<Vec<T>, TensorError> {
    let mut values = zeros::<T>(count)?;
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
    reader.read_exact(bytes)?;
    if order != ByteOrder::NATIVE {
        bytes.chunks_exact_mut(T::DTYPE.size()).for_each(<[u8]>::reverse);
    }
    Ok(values)
}

/// The values of a column-major tensor in row-major order.
pub(crate) fn to_row_major<T: Element>(
    dims: &[usize],
    values: Vec<T>,
) -> Result<Vec<T>, TensorError> {
    use ndarray::{ArrayView, IxDyn, ShapeBuilder};

    let is_a_row = dims.iter().filter(|&&dim| dim != 1).count() < 2;
    if is_a_row || values.is_empty() {
        return Ok(values);
    }
    let mut rows = zeros::<T>(values.len())?;
    let view = ArrayView::from_shape(IxDyn(dims).f(), &values);
    let view = view.expect("as many values as the shape takes");
    rows.iter_mut().zip(&view).for_each(|(to, from)| *to = *from);
    Ok(rows)
}

fn zeros<E: Scalar>(count: usize) -> Result<Vec<E>, TensorError> {
    let mut buffer = Vec::new();
    let bytes = (count as u64).saturating_mul(size_of::<E>() as u64);
    buffer.try_reserve_exact(count).map_err(|_| TensorError::OutOfMemory { bytes })?;
    buffer.resize(count, E::default());
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_major_becomes_row_major() {
        // [[0, 1, 2], [3, 4, 5]] by columns.
        let values = vec![0.0f32, 3.0, 1.0, 4.0, 2.0, 5.0];
        assert_eq!(to_row_major(&[2, 3], values).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let row = to_row_major(&[1, 3, 1], vec![0.0f32, 1.0, 2.0]).unwrap();
        assert_eq!(row, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn sizes_that_overflow_are_refused_and_empty_ones_are_not() {
        assert!(matches!(extent(&[usize::MAX, 2], 4), Err(TensorError::TooLarge { .. })));
        assert!(matches!(extent(&[usize::MAX / 4], 8), Err(TensorError::TooLarge { .. })));
        assert_eq!(extent(&[usize::MAX, 0, usize::MAX], 8).unwrap(), (0, 0));
        assert_eq!(extent(&[], 8).unwrap(), (1, 8));
    }
}
