//! Arrays as the contract wants them: values one after the other, the last axis fastest.

use bn_core::{Error, Scalar};
use ndarray::{Array, ArrayBase, ArrayView, CowArray, Data, DataMut, Dimension};

/// The array in standard layout: as it is where it is that already, otherwise one copy.
pub(crate) fn standard<E: Scalar, D: Dimension>(
    array: CowArray<'_, E, D>,
) -> Result<CowArray<'_, E, D>, Error> {
    if array.is_standard_layout() { Ok(array) } else { Ok(copy(array.view())?.into()) }
}

/// A copy in standard layout. A broadcast view may claim more values than there is memory for, which
/// is an error and not an abort.
pub(crate) fn copy<E: Scalar, D: Dimension>(
    array: ArrayView<'_, E, D>,
) -> Result<Array<E, D>, Error> {
    let mut copy = zeros(array.raw_dim())?;
    copy.assign(&array);
    Ok(copy)
}

/// An array of zeros, from pages that the system hands out zeroed: an output is not written twice.
pub(crate) fn zeros<E: Scalar, D: Dimension>(dim: D) -> Result<Array<E, D>, Error> {
    let values = zeroed(dim.size())?;
    Ok(Array::from_shape_vec(dim, values).expect("as many zeros as the dimensions ask for"))
}

/// A vector of zeros, or an error where memory runs out.
pub(crate) fn zeroed<E: Scalar>(len: usize) -> Result<Vec<E>, Error> {
    let bytes = len.saturating_mul(size_of::<E>());
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| Error::OutOfMemory { bytes })
}

/// The values of an array in standard layout.
pub(crate) fn values<E, S: Data<Elem = E>, D: Dimension>(array: &ArrayBase<S, D>) -> &[E] {
    array.as_slice().expect("the array was brought into standard layout")
}

/// The values of an array in standard layout, to write.
pub(crate) fn values_mut<E, S: DataMut<Elem = E>, D: Dimension>(
    array: &mut ArrayBase<S, D>,
) -> &mut [E] {
    array.as_slice_mut().expect("the array was brought into standard layout")
}
