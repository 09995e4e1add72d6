//! A layer whose statistics are fixed, as a plain module.

use bn_core::Mode;
use candle_core::{Result, Tensor};
use candle_nn::Module;

use super::BatchNorm;

/// A layer that always normalises with its running statistics and never changes them.
///
/// For inference, and for training around a pretrained layer: gradients pass through it to x, gamma and
/// beta. It is a [`Module`], which a layer with two behaviours cannot be: candle gives every
/// `Module` the same `forward_t` for training and evaluation.
///
/// ```
/// use candle_core::{DType, Device, Result, Tensor, Var};
/// use candle_nn::{Module, VarBuilder, VarMap};
///
/// # fn main() -> Result<()> {
/// let map = VarMap::new();
/// let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
/// let layer = bn_candle::batch_norm(3, 1e-5, vb)?.frozen();
/// let x = Var::from_tensor(&Tensor::randn(5f32, 2.0, (4, 3, 7), &Device::Cpu)?)?;
/// let gradients = layer.forward(&x)?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).expect("a gradient").dims(), [4, 3, 7]);
/// assert_eq!(layer.inner().num_batches_tracked(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FrozenBatchNorm(BatchNorm);

impl FrozenBatchNorm {
    /// The layer itself.
    #[must_use]
    pub const fn inner(&self) -> &BatchNorm {
        &self.0
    }

    /// The layer itself, no longer frozen.
    #[must_use]
    pub fn into_inner(self) -> BatchNorm {
        self.0
    }
}

impl BatchNorm {
    /// The layer with its running statistics fixed, sharing parameters and statistics with this one.
    #[must_use]
    pub fn frozen(&self) -> FrozenBatchNorm {
        FrozenBatchNorm(self.clone())
    }
}

impl Module for FrozenBatchNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward_mode(x, Mode::EVAL)
    }
}
