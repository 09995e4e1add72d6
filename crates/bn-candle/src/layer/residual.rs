//! The end of a residual block as one node.

use bn_core::Mode;
use candle_core::{Result, Tensor};

use super::BatchNorm;

/// y = relu(gamma·x̂ + beta + residual): normalisation, addition and ReLU in one operation.
///
/// Made by [`batch_norm_add_relu`](super::batch_norm_add_relu) or [`BatchNorm::with_add_relu`]. The
/// residual has the shape and type of x, and its gradient is the one that the ReLU lets through.
#[derive(Clone, Debug)]
pub struct BatchNormAddRelu(BatchNorm);

impl BatchNormAddRelu {
    pub(super) fn new(layer: BatchNorm) -> Self {
        Self(layer.with_relu())
    }

    /// The layer that normalises.
    #[must_use]
    pub const fn inner(&self) -> &BatchNorm {
        &self.0
    }

    /// Trains or evaluates, as [`ModuleT::forward_t`](candle_nn::ModuleT::forward_t).
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::forward_mode`], and a residual of another shape or type than x.
    pub fn forward_t(&self, x: &Tensor, residual: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(x, residual, self.0.mode(train))
    }

    /// The same in any mode.
    ///
    /// # Errors
    ///
    /// As [`BatchNormAddRelu::forward_t`].
    pub fn forward_mode(&self, x: &Tensor, residual: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.forward_with(x, Some(residual), mode)
    }
}
