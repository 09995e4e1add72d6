//! candle's CPU storage as the slices that the kernels take.

use bn_core::Element;
use candle_core::{CpuStorage, Layout, Result, WithDType};

use super::Affine;

/// An element type of this workspace that is one of candle's as well.
pub(crate) trait CpuElement: Element<Param: WithDType> + WithDType {}

impl<T: Element<Param: WithDType> + WithDType> CpuElement for T {}

/// The values of a tensor that fill their memory without gaps, in the order of memory.
pub(super) fn slice<'a, E: WithDType>((storage, at): (&'a CpuStorage, &Layout)) -> Result<&'a [E]> {
    let start = at.start_offset();
    Ok(&E::cpu_storage_as_slice(storage)?[start..start + at.shape().elem_count()])
}

/// Gamma and beta.
pub(super) fn affine<'a, T: CpuElement>(
    affine: Affine<(&'a CpuStorage, &Layout)>,
) -> Result<[Option<&'a [T::Param]>; 2]> {
    Ok(match affine {
        Affine::None => [None, None],
        Affine::Apart([gamma, beta]) => [Some(slice(gamma)?), Some(slice(beta)?)],
        Affine::Rows(rows) => {
            let rows = slice::<T::Param>(rows)?;
            let (gamma, beta) = rows.split_at(rows.len() / 2);
            [Some(gamma), Some(beta)]
        }
    })
}
