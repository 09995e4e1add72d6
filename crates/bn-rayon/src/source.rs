//! Where the numbers of a channel come from, one by one or in lanes.

use bn_core::{ChannelMoments, Counts, DType, Element, inv_std};

use crate::run::load;
use crate::shared::Shared;
use crate::simd::{Eight, Simd, Vector};

/// Numbers by channel or statistic, in the precision that they are stored in.
#[derive(Clone, Copy)]
pub(crate) enum Numbers {
    /// The same everywhere.
    Same(f64),
    Single(Shared<f32>),
    Double(Shared<f64>),
}

impl Numbers {
    /// Parameters of channels, or a default.
    pub(crate) fn new<P: Element>(values: Option<&[P]>, default: f64) -> Self {
        match (values, P::DTYPE) {
            (None, _) => Self::Same(default),
            (Some(values), DType::F32) => Self::Single(Shared::reading(values).cast()),
            (Some(values), DType::F64) => Self::Double(Shared::reading(values).cast()),
            (Some(_), _) => unreachable!("parameters are f32 or f64"),
        }
    }

    /// One of them.
    ///
    /// # Safety
    ///
    /// There is one at `at`, and nobody writes there now.
    pub(crate) unsafe fn get(self, at: usize) -> f64 {
        match self {
            Self::Same(value) => value,
            // SAFETY: the caller's.
            Self::Single(values) => f64::from(unsafe { values.get(at) }),
            // SAFETY: the same.
            Self::Double(values) => unsafe { values.get(at) },
        }
    }

    /// The first `count` of eight.
    ///
    /// # Safety
    ///
    /// There are that many at `at`, and nobody writes there now.
    #[inline(always)]
    pub(crate) unsafe fn lanes<S: Simd>(self, simd: S, at: usize, count: usize) -> S::F64 {
        match self {
            Self::Same(value) => S::F64::splat(simd, value),
            // SAFETY: the caller's.
            Self::Single(values) => unsafe {
                load::<crate::simd::Wide<f32>, S>(simd, values.at(at), count)
            },
            // SAFETY: the same.
            Self::Double(values) => unsafe { load::<f64, S>(simd, values.at(at), count) },
        }
    }
}

/// What the statistics are that a tensor is normalised with.
pub(crate) enum Center<'a> {
    /// Moments of the batch, once they are there.
    Moments { mean: Shared<f64>, m2: Shared<f64>, counts: &'a Counts, eps: f64 },
    /// The mean and 1/sqrt(variance + eps).
    Given { mean: Numbers, inv_std: Numbers },
    /// The mean and the variance, both to be multiplied by a scale.
    Running { mean: Numbers, var: Numbers, scale: f64, eps: f64 },
}

/// The statistics, and gamma and beta of each channel.
pub(crate) struct Affine<'a> {
    pub(crate) center: Center<'a>,
    pub(crate) gamma: Numbers,
    pub(crate) beta: Numbers,
    pub(crate) channels: usize,
}

impl Affine<'_> {
    /// The mean, inv_std, gamma and beta of a statistic.
    ///
    /// # Safety
    ///
    /// It is one of the problem's, and its moments are there.
    pub(crate) unsafe fn get(&self, statistic: usize) -> [f64; 4] {
        let c = statistic % self.channels;
        // SAFETY: the caller's, here and below.
        let [gamma, beta] = [self.gamma, self.beta].map(|numbers| unsafe { numbers.get(c) });
        let (mean, inv_std) = match self.center {
            Center::Moments { mean, m2, counts, eps } => {
                let count = counts.of(statistic / self.channels);
                // SAFETY: the same.
                let (mean, m2) = unsafe { (mean.get(statistic), m2.get(statistic)) };
                (mean, ChannelMoments { count, mean, m2 }.inv_std(eps))
            }
            // SAFETY: the same.
            Center::Given { mean, inv_std } => unsafe {
                (mean.get(statistic), inv_std.get(statistic))
            },
            Center::Running { mean, var, scale, eps } => {
                // SAFETY: the same.
                let (mean, var) = unsafe { (mean.get(statistic), var.get(statistic)) };
                (scale * mean, inv_std(scale * var, eps))
            }
        };
        [mean, inv_std, gamma, beta]
    }

    /// The same of `count` channels of a group from `c` on, as [`Affine::get`] computes them.
    ///
    /// # Safety
    ///
    /// They are the problem's, and their moments are there.
    #[inline(always)]
    pub(crate) unsafe fn lanes<S: Simd>(
        &self,
        simd: S,
        group: usize,
        c: usize,
        count: usize,
    ) -> [S::F64; 4] {
        let at = group * self.channels + c;
        let splat = |value| S::F64::splat(simd, value);
        // SAFETY: the caller's, here and below.
        let (gamma, beta) =
            unsafe { (self.gamma.lanes(simd, c, count), self.beta.lanes(simd, c, count)) };
        let (mean, variance, eps) = match self.center {
            Center::Moments { mean, m2, counts, eps } => {
                // SAFETY: the same.
                let (mean, m2) = unsafe {
                    (
                        load::<f64, S>(simd, mean.at(at), count),
                        load::<f64, S>(simd, m2.at(at), count),
                    )
                };
                let values = counts.of(group);
                let variance = if values == 0 { splat(0.0) } else { m2.div(splat(values as f64)) };
                (mean, variance, eps)
            }
            Center::Given { mean, inv_std } => {
                // SAFETY: the same.
                let (mean, inv_std) =
                    unsafe { (mean.lanes(simd, at, count), inv_std.lanes(simd, at, count)) };
                return [mean, inv_std, gamma, beta];
            }
            Center::Running { mean, var, scale, eps } => {
                // SAFETY: the same.
                let (mean, var) =
                    unsafe { (mean.lanes(simd, at, count), var.lanes(simd, at, count)) };
                (splat(scale).mul(mean), splat(scale).mul(var), eps)
            }
        };
        let inv_std = splat(1.0).div(variance.add(splat(eps)).sqrt());
        [mean, inv_std, gamma, beta]
    }
}
