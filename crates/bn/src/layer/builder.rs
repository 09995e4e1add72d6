//! How a layer is set up: every convention that systems differ in, by name.

use std::marker::PhantomData;
use std::sync::Arc;

use bn_core::{
    BatchNormBackend, Element, HostBackend, HostMemory, Layout, Momentum, RunningVariance,
    SingleValue,
};
use ndarray::Array1;

use super::{BatchNorm, RunningStatistics};
use crate::{Choice, Error, Options, dense};

/// What the layer does to γ·x̂ + β before it returns y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// relu(γ·x̂ + β), in the same pass.
    Relu,
    /// relu(γ·x̂ + β + residual), in the same pass: the end of a residual block. Every forward then
    /// takes a [residual](crate::Input::residual), and backward gives its gradient.
    AddRelu,
}

/// What a layer is set up with; fixed once it is built, but for the momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) channels: usize,
    pub(crate) layout: Layout,
    pub(crate) eps: f64,
    pub(crate) momentum: Momentum,
    pub(crate) variance: RunningVariance,
    pub(crate) groups: usize,
    pub(crate) single_value: SingleValue,
    pub(crate) activation: Activation,
}

/// Builds a [`BatchNorm`]; made by [`BatchNorm::builder`].
///
/// Without further calls the layer is PyTorch's: gamma 1, beta 0, eps 1e-5, the new value weighs 0.1,
/// the unbiased variance enters the running one, one set of statistics for the whole batch, an error
/// where training has one value per channel. The conventions of others:
///
/// | system | calls |
/// |---|---|
/// | PyTorch, candle | none |
/// | PyTorch, `momentum=None` | `.momentum(Momentum::Cumulative)` |
/// | Keras 3 | `.eps(1e-3).momentum(Momentum::Old(0.99)).running_variance(RunningVariance::Biased)` |
/// | TensorFlow's fused kernel (`tf.keras` 2) | `.eps(1e-3).momentum(Momentum::Old(0.99))` |
/// | ONNX | `.momentum(Momentum::Old(0.9)).running_variance(RunningVariance::Biased)` |
/// | Flax | `.momentum(Momentum::Old(0.99)).running_variance(RunningVariance::Biased)` |
/// | Caffe | `.without_affine().momentum(Momentum::CaffeSum(0.999)).single_value(SingleValue::Allow)` |
#[derive(Clone, Debug)]
pub struct Builder<T: Element> {
    settings: Settings,
    gamma: bool,
    beta: bool,
    tracking: bool,
    element: PhantomData<fn() -> T>,
}

impl<T: Element> Builder<T> {
    pub(super) fn new(channels: usize, layout: Layout) -> Self {
        let settings = Settings {
            channels,
            layout,
            eps: 1e-5,
            momentum: Momentum::New(0.1),
            variance: RunningVariance::Unbiased,
            groups: 1,
            single_value: SingleValue::Refuse,
            activation: Activation::None,
        };
        Self { settings, gamma: true, beta: true, tracking: true, element: PhantomData }
    }

    /// Sets what is added to the variance inside the root: a finite number above 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.settings.eps = eps;
        self
    }

    /// Sets how a batch enters the running statistics.
    #[must_use]
    pub const fn momentum(mut self, momentum: Momentum) -> Self {
        self.settings.momentum = momentum;
        self
    }

    /// Sets which variance enters the running one. The biased one always normalises the batch itself.
    #[must_use]
    pub const fn running_variance(mut self, variance: RunningVariance) -> Self {
        self.settings.variance = variance;
        self
    }

    /// Leaves out gamma and beta: y = x̂.
    #[must_use]
    pub const fn without_affine(self) -> Self {
        self.without_gamma().without_beta()
    }

    /// Leaves out gamma, the scale.
    #[must_use]
    pub const fn without_gamma(mut self) -> Self {
        self.gamma = false;
        self
    }

    /// Leaves out beta, the shift.
    #[must_use]
    pub const fn without_beta(mut self) -> Self {
        self.beta = false;
        self
    }

    /// Leaves out the running statistics: the layer then knows [`Mode::BATCH_ONLY`](crate::Mode::BATCH_ONLY)
    /// alone, and every other mode is an error. PyTorch's `track_running_stats=False` falls back to
    /// batch statistics in evaluation; here that is asked for by name.
    #[must_use]
    pub const fn without_running_statistics(mut self) -> Self {
        self.tracking = false;
        self
    }

    /// Cuts each training batch into this many runs of samples with statistics of their own (ghost
    /// batch normalisation). Their exact merge enters the running statistics.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.settings.groups = groups;
        self
    }

    /// Sets what training does where each channel has one value.
    #[must_use]
    pub const fn single_value(mut self, policy: SingleValue) -> Self {
        self.settings.single_value = policy;
        self
    }

    /// Sets what is fused behind the normalisation.
    #[must_use]
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.settings.activation = activation;
        self
    }

    /// Builds the layer on the fastest backend available.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build_with`] and of [`open`](crate::open).
    pub fn build(self) -> Result<BatchNorm<T>, Error> {
        self.build_named(Choice::Auto, &Options::default())
    }

    /// Builds the layer on the backend of this name, opened for this layer alone.
    ///
    /// Layers that should share a backend, and with it its threads, take [`Builder::build_with`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build_with`] and of [`open`](crate::open).
    pub fn build_named(
        self,
        backend: impl Into<Choice>,
        options: &Options,
    ) -> Result<BatchNorm<T>, Error> {
        self.build_with(Arc::<HostBackend<T>>::from(crate::open(backend, options)?))
    }

    /// Builds the layer on a backend that is at hand: of a known type, without dynamic dispatch, or
    /// one that [`open`](crate::open) gave, shared between layers.
    ///
    /// gamma starts as 1, beta as 0, the running mean as 0 and the running variance as 1; Caffe's
    /// sums both start as 0 with factor 0.
    ///
    /// # Errors
    ///
    /// [`Error::NoChannels`], [`Error::NoGroups`], and of [`core`](crate::core::Error) `Eps`, `Momentum`
    /// and `OutOfMemory`.
    pub fn build_with<B>(self, backend: Arc<B>) -> Result<BatchNorm<T, B>, Error>
    where
        B: BatchNormBackend<T, Memory = HostMemory> + ?Sized,
    {
        let Settings { channels, eps, momentum, groups, .. } = self.settings;
        if channels == 0 {
            return Err(Error::NoChannels);
        }
        if groups == 0 {
            return Err(Error::NoGroups);
        }
        if !(eps.is_finite() && eps > 0.0) {
            return Err(bn_core::Error::Eps { found: eps }.into());
        }
        momentum.check()?;
        let filled = |wanted: bool, value: f64| {
            wanted.then(|| filled::<T::Param>(channels, value)).transpose()
        };
        let running = self.tracking.then(|| RunningStatistics::fresh(channels, &momentum));
        Ok(BatchNorm {
            settings: self.settings,
            gamma: filled(self.gamma, 1.0)?,
            beta: filled(self.beta, 0.0)?,
            running: running.transpose()?,
            backend,
        })
    }
}

/// One value for each channel.
pub(super) fn filled<P: Element>(channels: usize, value: f64) -> Result<Array1<P>, Error> {
    let mut array = dense::zeros(ndarray::Ix1(channels))?;
    array.fill(P::from_f64(value));
    Ok(array)
}
