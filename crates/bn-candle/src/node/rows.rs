//! Gamma and beta as the two rows of one tensor.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};

use super::element::slice;
use super::on_cpu;
use super::once::{gradient, outlives_backward};

/// The rows, for a node that has no room for two arguments.
///
/// candle's own `stack` computes the same, but its backward would hand on gradients that no longer know
/// where they are from: differentiated again they would count as constants.
pub(super) struct Rows;

/// Runs a body with `$p` standing for the parameter type of `$dtype`.
macro_rules! with_parameter {
    ($dtype:expr, $p:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $p = f32;
                $body
            }
            DType::F64 => {
                type $p = f64;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, "batch-norm-rows").bt()),
        }
    };
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
        let rows = with_parameter!(gamma.dtype(), P => {
            let rows = [slice::<P>((gamma, gamma_at))?, slice::<P>((beta, beta_at))?];
            Ok(P::to_cpu_storage_owned(rows.concat()))
        })?;
        Ok((rows, Shape::from((2, gamma_at.shape().elem_count()))))
    }

    fn bwd(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        rows: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let rows = rows.contiguous()?;
        let (storage, at) = rows.storage_and_layout();
        let channels = gamma.elem_count();
        let of = |parameter: &Tensor, row: usize| {
            if !parameter.track_op() {
                return Ok(None);
            }
            let values = with_parameter!(rows.dtype(), P => {
                let rows = slice::<P>((on_cpu(&storage)?, at))?;
                Ok(P::to_cpu_storage_owned(rows[row * channels..(row + 1) * channels].to_vec()))
            })?;
            gradient(values, &[channels], outlives_backward(parameter)).map(Some)
        };
        Ok((of(gamma, 0)?, of(beta, 1)?))
    }
}
