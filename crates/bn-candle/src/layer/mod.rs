//! The layer: parameters, running statistics, and how they are used.

mod build;
mod fold;
mod forward;
mod frozen;
mod residual;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bn_core::{Layout, Mode, Momentum, RunningVariance, Seen, SingleValue};
use candle_core::{Result, Tensor, Var};
use candle_nn::ModuleT;

pub use build::{batch_norm, batch_norm_add_relu, batch_norm_relu};
pub use frozen::FrozenBatchNorm;
pub use residual::BatchNormAddRelu;

/// Batch normalisation as one differentiable operation, in the place of `candle_nn::BatchNorm`.
///
/// Made by [`batch_norm`] or by the constructors that candle_nn's layer has; the methods that start
/// with `with_` set what candle_nn's layer does not know. [`ModuleT::forward_t`] trains or evaluates,
/// [`BatchNorm::forward_mode`] says it as a [`Mode`], [`BatchNorm::frozen`] makes a
/// [`Module`](candle_nn::Module) of it.
///
/// A clone shares parameters and running statistics with its original, as candle's tensors do.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    running_mean: Var,
    running_var: Var,
    weight_and_bias: Option<(Tensor, Tensor)>,
    eps: f64,
    remove_mean: bool,
    momentum: Momentum,
    variance: RunningVariance,
    single_value: SingleValue,
    layout: Layout,
    relu: bool,
    training: Mode,
    seen: Arc<Mutex<Seen>>,
}

impl BatchNorm {
    /// C, the number of channels.
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.running_mean.elem_count()
    }

    /// The running mean, C values.
    #[must_use]
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// The running variance, C values.
    #[must_use]
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// Gamma and beta, C values each, where the layer has them.
    #[must_use]
    pub fn weight_and_bias(&self) -> Option<(&Tensor, &Tensor)> {
        self.weight_and_bias.as_ref().map(|(weight, bias)| (weight, bias))
    }

    /// What is added to the variance inside the root.
    #[must_use]
    pub const fn eps(&self) -> f64 {
        self.eps
    }

    /// The weight that the next batch gets in the running statistics.
    ///
    /// For candle_nn's convention that is the momentum itself, for the cumulative average 1/(batches + 1).
    #[must_use]
    pub fn momentum(&self) -> f64 {
        self.momentum.blend(&self.lock_seen()).add
    }

    /// Where the channels lie in the shape of x.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// How many batches have entered the running statistics: PyTorch's `num_batches_tracked`.
    #[must_use]
    pub fn num_batches_tracked(&self) -> u64 {
        self.lock_seen().batches
    }

    /// Normalises with the statistics of the batch, which enter the running ones.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::forward_mode`].
    pub fn forward_train(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_t(x, true)
    }

    /// The mode that `train` stands for.
    const fn mode(&self, train: bool) -> Mode {
        if train { self.training } else { Mode::EVAL }
    }

    fn lock_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(x, self.mode(train))
    }
}
