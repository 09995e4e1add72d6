//! The statistics of a batch as tensors, C values each, on the device of x.

use bn_core::RunningVariance;
use candle_core::{Result, Tensor};

/// The moments of each channel of a batch, as [`bn_core::ChannelMoments`] has those of one.
pub(super) struct BatchMoments {
    /// The values of a channel.
    pub(super) count: f64,
    pub(super) mean: Tensor,
    /// Σ(x − mean)².
    pub(super) m2: Tensor,
}

impl BatchMoments {
    /// The moments about 0 in place of those about the mean.
    pub(super) fn about_zero(&self) -> Result<Self> {
        let m2 = (&self.m2 + (self.mean.sqr()? * self.count)?)?;
        Ok(Self { count: self.count, mean: self.mean.zeros_like()?, m2 })
    }

    /// The variance that the running statistics take. One value has an unbiased variance of 0, not NaN.
    pub(super) fn variance(&self, variance: RunningVariance) -> Result<Tensor> {
        match variance {
            RunningVariance::Unbiased if self.count >= 2.0 => &self.m2 / (self.count - 1.0),
            RunningVariance::Unbiased | RunningVariance::Biased => &self.m2 / self.count,
        }
    }

    /// 1/sqrt(variance + eps).
    pub(super) fn inv_std(&self, eps: f64) -> Result<Tensor> {
        (self.variance(RunningVariance::Biased)? + eps)?.sqrt()?.recip()
    }
}
