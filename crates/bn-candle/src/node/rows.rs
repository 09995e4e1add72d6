//! Gamma and beta as the two rows of one tensor.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::once::{gradient, outlives_backward};
use super::site::owned;

/// The rows, for a node that has no room for two arguments.
///
/// candle's own `stack` computes the same, but its backward would hand on gradients that no longer know
/// where they are from: differentiated again they would count as constants.
pub(super) struct Rows;

fn rows<B: BackendStorage<Device: BackendDevice<Storage = B>>>(
    gamma: &B,
    gamma_at: &Layout,
    beta: &B,
    beta_at: &Layout,
) -> Result<(B, Shape)> {
    let channels = gamma_at.shape().elem_count();
    let shape = Shape::from((2, channels));
    let mut rows = gamma.device().zeros_impl(&shape, gamma.dtype())?;
    gamma.copy_strided_src(&mut rows, 0, gamma_at)?;
    beta.copy_strided_src(&mut rows, channels, beta_at)?;
    Ok((rows, shape))
}

impl CustomOp2 for Rows {
    fn name(&self) -> &'static str {
        "batch-norm-rows"
    }

    fn cpu_fwd(
        &self,
        gamma: &CpuStorage,
        gamma_at: &Layout,
        beta: &CpuStorage,
        beta_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        rows(gamma, gamma_at, beta, beta_at)
    }

    fn cuda_fwd(
        &self,
        gamma: &CudaStorage,
        gamma_at: &Layout,
        beta: &CudaStorage,
        beta_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        rows(gamma, gamma_at, beta, beta_at)
    }

    fn bwd(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        rows: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of = |parameter: &Tensor, row: usize| {
            if !parameter.track_op() {
                return Ok(None);
            }
            let values = owned(&rows.get(row)?.force_contiguous()?)?;
            gradient(values, parameter.dims(), outlives_backward(parameter)).map(Some)
        };
        Ok((of(gamma, 0)?, of(beta, 1)?))
    }
}
