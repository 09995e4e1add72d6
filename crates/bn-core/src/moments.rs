//! Count, mean and sum of squared deviations: what statistics are made of, and how they merge.

/// The moments of one channel: how many values, their mean, and Σ(x − mean)².
///
/// These three merge exactly by count (Chan, Golub and LeVeque 1979), so the moments of uneven
/// batches, of many processes or of a whole data set streamed through memory are the moments of all
/// their values together. A mean of means is not.
///
/// ```
/// use bn_core::ChannelMoments;
///
/// let parts = [[1.0, 2.0].as_slice(), &[3.0, 4.0, 5.0]];
/// let merged = parts.iter().map(|part| ChannelMoments::of(part)).sum::<ChannelMoments>();
/// assert_eq!(merged, ChannelMoments::of(&[1.0, 2.0, 3.0, 4.0, 5.0]));
/// assert_eq!((merged.mean, merged.variance(), merged.unbiased_variance()), (3.0, 2.0, 2.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelMoments {
    /// How many values.
    pub count: u64,
    /// Their mean; 0 where there are none.
    pub mean: f64,
    /// Σ(x − mean)²; 0 where there are none.
    pub m2: f64,
}

impl ChannelMoments {
    /// The moments of `values`, in three passes: a mean, that mean made exact, and M2.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let Some(&first) = values.first() else {
            return Self::default();
        };
        // From the deviations of one of the values the mean of a constant channel is exactly that
        // constant; from those of a mean, it is right even where that one value lay far off. An
        // infinite mean has no deviations and stays what it is.
        let count = values.len() as f64;
        let mean_from =
            |shift: f64| shift + values.iter().map(|value| value - shift).sum::<f64>() / count;
        let rough = mean_from(first);
        let mean = if rough.is_finite() { mean_from(rough) } else { rough };
        let m2 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { count: values.len() as u64, mean, m2 }
    }

    /// The moments of both sets of values together.
    ///
    /// mean = mean₁ + δ·n₂/n, M2 = M2₁ + M2₂ + δ²·n₁·n₂/n, with δ = mean₂ − mean₁ and n = n₁ + n₂.
    /// A count beyond `u64` stays at its largest value.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let (first, second) = (self.count as f64, other.count as f64);
        let total = first + second;
        let delta = other.mean - self.mean;
        Self {
            count: self.count.saturating_add(other.count),
            mean: self.mean + delta * second / total,
            m2: self.m2 + other.m2 + delta * delta * (first * second / total),
        }
    }

    /// The biased variance M2/n, the one that normalises; 0 where there are no values.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.m2 / self.count as f64 }
    }

    /// The unbiased variance M2/(n − 1); with a single value its factor n/(n − 1) is taken as 1, as
    /// Caffe does, so that the result is 0 and not NaN.
    #[must_use]
    pub fn unbiased_variance(&self) -> f64 {
        if self.count < 2 { self.variance() } else { self.m2 / (self.count - 1) as f64 }
    }

    /// 1/sqrt(variance + eps).
    #[must_use]
    pub fn inv_std(&self, eps: f64) -> f64 {
        inv_std(self.variance(), eps)
    }
}

impl core::iter::Sum for ChannelMoments {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Self::merge)
    }
}

/// 1/sqrt(variance + eps): the factor that every mode normalises with.
///
/// Infinite where the variance is −eps and NaN where it is below, which no data has; stored statistics
/// may.
#[must_use]
pub fn inv_std(variance: f64, eps: f64) -> f64 {
    1.0 / (variance + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_exact_for_uneven_parts() {
        let values: Vec<f64> = (0..1000).map(|i| 1e4 + f64::from(i * 37 % 101)).collect();
        let whole = ChannelMoments::of(&values);
        for cut in [0, 1, 7, 500, 999, 1000] {
            let (left, right) = values.split_at(cut);
            let merged = ChannelMoments::of(left).merge(ChannelMoments::of(right));
            assert_eq!(merged.count, whole.count);
            approx::assert_relative_eq!(merged.mean, whole.mean, max_relative = 1e-15);
            approx::assert_relative_eq!(merged.m2, whole.m2, max_relative = 1e-12);
        }
    }

    #[test]
    fn a_first_value_far_off_does_no_harm() {
        let values: Vec<f64> =
            core::iter::once(1e15).chain((0..4095).map(|i| f64::from(i % 7) - 3.0)).collect();
        let mirrored: Vec<f64> = values.iter().rev().copied().collect();
        let (first, last) = (ChannelMoments::of(&values), ChannelMoments::of(&mirrored));
        approx::assert_relative_eq!(first.mean, last.mean, max_relative = 1e-15);
        approx::assert_relative_eq!(first.m2, last.m2, max_relative = 1e-12);
    }

    #[test]
    fn a_constant_has_exactly_that_mean_and_no_variance() {
        for constant in [1e7, -0.1, 1e300, 5e-324] {
            let moments = ChannelMoments::of(&[constant; 77]);
            assert_eq!((moments.mean, moments.m2), (constant, 0.0));
        }
    }

    #[test]
    fn what_is_infinite_stays_infinite() {
        let mean = ChannelMoments::of(&[1.0, f64::INFINITY, 2.0]).mean;
        assert_eq!(mean, f64::INFINITY);
    }

    #[test]
    fn a_count_does_not_overflow() {
        let many = ChannelMoments { count: u64::MAX, mean: 1.0, m2: 0.0 };
        assert_eq!(many.merge(many), many);
    }

    #[test]
    fn a_single_value_and_none_have_no_nan() {
        assert_eq!(ChannelMoments::default().variance(), 0.0);
        assert_eq!(ChannelMoments::of(&[3.0]).unbiased_variance(), 0.0);
    }
}
