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
