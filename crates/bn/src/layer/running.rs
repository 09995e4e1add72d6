//! The running statistics of a layer, and changing them by hand.

use bn_core::{Element, Momentum, Seen};
use ndarray::{Array1, ArrayView1};

use super::BatchNorm;
use super::builder::filled;
use crate::Error;

/// Running mean and variance of each channel, and what they have seen.
///
/// Under [`Momentum::CaffeSum`] both are sums, which [`RunningStatistics::averages`] divides by their
/// factor; under all other conventions they are the averages themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStatistics<P: Element> {
    pub(super) mean: Array1<P>,
    pub(super) var: Array1<P>,
    pub(super) seen: Seen,
}

impl<P: Element> RunningStatistics<P> {
    /// Statistics from elsewhere, one value for each channel.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the lengths differ, [`Error::Statistic`] where a mean is not finite, or a
    /// variance is not a finite number of at least 0, and [`Error::Factor`].
    pub fn new(mean: Array1<P>, var: Array1<P>, seen: Seen) -> Result<Self, Error> {
        if mean.len() != var.len() {
            return Err(Error::shape("running_var", var.shape(), mean.shape()));
        }
        let statistics = Self { mean: standard(mean), var: standard(var), seen };
        statistics.check().map(|()| statistics)
    }

    /// Whether these are statistics that a layer can be given: those of one that has met a NaN are not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { mean, var, seen } = self;
        if !seen.factor.is_finite() {
            return Err(Error::Factor { found: seen.factor });
        }
        for (channel, (mean, var)) in mean.iter().zip(var).enumerate() {
            let (mean, var) = (mean.to_f64(), var.to_f64());
            let refuse =
                |name, found, expected| Error::Statistic { name, channel, found, expected };
            if !mean.is_finite() {
                return Err(refuse("running_mean", mean, "a finite number"));
            }
            if !(var.is_finite() && var >= 0.0) {
                return Err(refuse("running_var", var, "a finite number of at least 0"));
            }
        }
        Ok(())
    }

    /// What a layer starts with: mean 0 and variance 1, or for Caffe's sums 0 and factor 0.
    pub(super) fn fresh(channels: usize, momentum: &Momentum) -> Result<Self, Error> {
        let var = if matches!(momentum, Momentum::CaffeSum(_)) { 0.0 } else { 1.0 };
        let (mean, var) = (filled(channels, 0.0)?, filled(channels, var)?);
        Ok(Self { mean, var, seen: Seen::default() })
    }

    /// The running mean of each channel, or Caffe's sum of means.
    #[must_use]
    pub fn mean(&self) -> ArrayView1<'_, P> {
        self.mean.view()
    }

    /// The running variance of each channel, or Caffe's sum of variances.
    #[must_use]
    pub fn var(&self) -> ArrayView1<'_, P> {
        self.var.view()
    }

    /// How many batches entered, and Caffe's factor.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// Mean and variance as they normalise under `momentum`: for Caffe's sums divided by their factor
    /// (0 where nothing was seen) and rounded once, for all other conventions as they are.
    #[must_use]
    pub fn averages(&self, momentum: &Momentum) -> (Array1<P>, Array1<P>) {
        let scale = self.seen.scale(momentum);
        let scaled = |values: &Array1<P>| values.mapv(|value| P::from_f64(scale * value.to_f64()));
        (scaled(&self.mean), scaled(&self.var))
    }

    /// The same statistics, kept under another convention: Caffe's sums become averages, and averages
    /// become sums of factor 1.
    fn converted(&self, from: &Momentum, to: &Momentum) -> Self {
        let sums = |momentum: &Momentum| matches!(momentum, Momentum::CaffeSum(_));
        if sums(from) == sums(to) {
            return self.clone();
        }
        let (mean, var) = self.averages(from);
        let factor = if sums(to) { 1.0 } else { 0.0 };
        Self { mean, var, seen: Seen { factor, ..self.seen } }
    }
}

/// The values one after the other, which a slice `step_by` of a larger array may not be.
fn standard<P: Element>(array: Array1<P>) -> Array1<P> {
    if array.is_standard_layout() { array } else { array.iter().copied().collect() }
}

impl<T: Element, B: ?Sized> BatchNorm<T, B> {
    /// The running statistics; `None` where the layer was built without.
    #[must_use]
    pub const fn running(&self) -> Option<&RunningStatistics<T::Param>> {
        self.running.as_ref()
    }

    /// Replaces the running statistics. Under [`Momentum::CaffeSum`] they are sums, and a factor of 0 says
    /// that nothing was seen: both then normalise as 0, as in Caffe.
    ///
    /// # Errors
    ///
    /// [`Error::NoRunningStatistics`] where the layer was built without, [`Error::Shape`] where they
    /// are not one value for each channel.
    pub fn set_running(&mut self, running: RunningStatistics<T::Param>) -> Result<(), Error> {
        let current = self.running.as_mut().ok_or(Error::NoRunningStatistics { wanted: "set" })?;
        if running.mean.len() != current.mean.len() {
            return Err(Error::shape("running_mean", running.mean.shape(), current.mean.shape()));
        }
        *current = running;
        Ok(())
    }

    /// How a batch enters the running statistics.
    #[must_use]
    pub const fn momentum(&self) -> Momentum {
        self.settings.momentum
    }

    /// Changes how batches enter from now on. Where one convention keeps Caffe's sums and the other
    /// averages, what is stored is converted, so that evaluation stays what it was (to rounding).
    ///
    /// # Errors
    ///
    /// [`core::Error::Momentum`](crate::core::Error::Momentum).
    pub fn set_momentum(&mut self, momentum: Momentum) -> Result<(), Error> {
        momentum.check()?;
        if let Some(running) = &mut self.running {
            *running = running.converted(&self.settings.momentum, &momentum);
        }
        self.settings.momentum = momentum;
        Ok(())
    }
}
