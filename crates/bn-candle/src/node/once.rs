//! Gradients that can be read but not differentiated again.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, Var,
};

use super::site::{constant, on_cpu, on_cuda};

/// What a second differentiation answers.
const NO_SECOND_ORDER: &str = "batch norm has no second-order gradient: \
     its backward is one closed-form node; take candle_nn::BatchNorm where one is needed";

/// A gradient as a tensor.
///
/// With `guarded` it hangs on a variable of its own, so that candle, asked to differentiate something made
/// of it, comes by here and gets an error. Without, candle would take it for a constant and leave
/// its share out of the result without a word.
pub(crate) fn gradient(values: Storage, dims: &[usize], guarded: bool) -> Result<Tensor> {
    if !guarded {
        return Ok(constant(values, dims));
    }
    let device = values.device();
    let op = Once { values: Mutex::new(Some(values)), shape: Shape::from(dims) };
    Var::zeros(1, DType::F32, &device)?.apply_op1(op)
}

/// Whether the gradient that candle makes of ours for `arg` can be differentiated again.
///
/// candle's backward cuts each gradient off from its graph before it goes on, except where it arrives
/// at a variable. With `CANDLE_GRAD_DO_NOT_DETACH` set it never does; candle reads that once for each
/// thread, and reading it anew can only guard too much.
pub(crate) fn outlives_backward(arg: &Tensor) -> bool {
    let kept = std::env::var("CANDLE_GRAD_DO_NOT_DETACH");
    arg.is_variable() || kept.is_ok_and(|kept| !kept.is_empty() && kept != "0")
}

/// Hands over values that exist already: how a storage becomes a tensor with an operation behind it.
struct Once {
    values: Mutex<Option<Storage>>,
    shape: Shape,
}

impl Once {
    fn take(&self) -> Result<(Storage, Shape)> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        let values = values.ok_or_else(|| candle_core::Error::msg("the gradient is taken"))?;
        Ok((values, self.shape.clone()))
    }
}

impl CustomOp1 for Once {
    fn name(&self) -> &'static str {
        "batch-norm-gradient"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(self.take()?)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(self.take()?)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Err(candle_core::Error::msg(NO_SECOND_ORDER))
    }
}
