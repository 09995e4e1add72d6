//! Running statistics: the conventions in which systems keep them, as types.

use core::fmt;

use crate::{ChannelMoments, Element, Error};

/// How a batch enters the running statistics. Systems differ, and a number alone does not say which
/// is meant: 0.1 in PyTorch is 0.9 in Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Momentum {
    /// Weight of the new value: running ← (1 − a)·running + a·batch. PyTorch, candle.
    New(f64),
    /// Weight of the old value: running ← a·running + (1 − a)·batch. Keras, TensorFlow, ONNX.
    Old(f64),
    /// The plain average of all batches so far, each with the same weight. PyTorch's `momentum=None`.
    Cumulative,
    /// Sums and their factor: sum ← a·sum + batch, factor ← a·factor + 1; the statistic is
    /// sum/factor. Caffe's `moving_average_fraction`, which has no range: any finite number is taken.
    CaffeSum(f64),
}

impl Momentum {
    /// The convention in words, as messages show it.
    #[must_use]
    pub const fn convention(&self) -> &'static str {
        match self {
            Self::New(_) => "weight of the new value",
            Self::Old(_) => "weight of the old value",
            Self::Cumulative => "cumulative average",
            Self::CaffeSum(_) => "Caffe's sum and factor",
        }
    }

    /// Refuses a weight outside [0, 1], or a Caffe fraction that is not finite.
    ///
    /// # Errors
    ///
    /// [`Error::Momentum`].
    pub fn check(&self) -> Result<(), Error> {
        let (found, good, expected) = match *self {
            Self::New(a) | Self::Old(a) => (a, (0.0..=1.0).contains(&a), "a number from 0 to 1"),
            Self::CaffeSum(a) => (a, a.is_finite(), "a finite number"),
            Self::Cumulative => return Ok(()),
        };
        if good {
            Ok(())
        } else {
            Err(Error::Momentum { convention: self.convention(), found, expected })
        }
    }

    /// The weights of the old and the new value in the update that follows `seen`.
    ///
    /// Every convention is one form, running ← keep·running + add·batch, so a kernel needs only this.
    #[must_use]
    pub fn blend(&self, seen: &Seen) -> Blend {
        match *self {
            Self::New(a) => Blend::exact(1.0 - a, a),
            Self::Old(a) => Blend::exact(a, 1.0 - a),
            Self::CaffeSum(a) => Blend { keep: a, add: 1.0, rounds_product: true },
            Self::Cumulative => {
                let batches = seen.batches as f64;
                Blend::exact(batches / (batches + 1.0), 1.0 / (batches + 1.0))
            }
        }
    }
}

impl fmt::Display for Momentum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(a) | Self::Old(a) | Self::CaffeSum(a) => {
                write!(f, "{a} ({})", self.convention())
            }
            Self::Cumulative => f.write_str(self.convention()),
        }
    }
}

/// Which variance enters the running statistics. The biased one always normalises the batch itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RunningVariance {
    /// M2/n. Keras 3, ONNX, Flax.
    Biased,
    /// M2/(n − 1). PyTorch, Caffe, candle, cuDNN, and TensorFlow's fused kernel, through which `tf.keras`
    /// of version 2 tracks it.
    #[default]
    Unbiased,
}

impl RunningVariance {
    /// The chosen variance of these moments.
    #[must_use]
    pub fn of(self, moments: &ChannelMoments) -> f64 {
        match self {
            Self::Biased => moments.variance(),
            Self::Unbiased => moments.unbiased_variance(),
        }
    }
}

/// What running statistics have seen so far: the two numbers that conventions keep beside the values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// How many batches. PyTorch's `num_batches_tracked`.
    pub batches: u64,
    /// Caffe's scale factor (its third blob): the sum of all weights. 0 before the first batch.
    pub factor: f64,
}

impl Seen {
    /// The state after one more update under `momentum`.
    ///
    /// The factor is rounded to the parameter type `P` after the product and again after the sum,
    /// as Caffe's blob is.
    #[must_use]
    pub fn next<P: Element>(self, momentum: &Momentum) -> Self {
        let round = |value| P::from_f64(value).to_f64();
        let factor = match *momentum {
            Momentum::CaffeSum(a) => round(round(round(a) * self.factor) + 1.0),
            _ => self.factor,
        };
        Self { batches: self.batches.saturating_add(1), factor }
    }

    /// What stored statistics are multiplied by before use under `momentum`: 1, or for Caffe's sums
    /// 1/factor, and 0 where the factor is 0.
    #[must_use]
    pub fn scale(&self, momentum: &Momentum) -> f64 {
        match momentum {
            Momentum::CaffeSum(_) if self.factor == 0.0 => 0.0,
            Momentum::CaffeSum(_) => 1.0 / self.factor,
            _ => 1.0,
        }
    }
}

/// The weights of one running update: running ← keep·running + add·batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blend {
    /// The weight of what was there.
    pub keep: f64,
    /// The weight of the batch.
    pub add: f64,
    /// Whether `keep`, and its product with what was there, are rounded to the parameter type before
    /// the sum, as Caffe does with its sums and its factor alike; if they were not treated alike,
    /// their quotient would drift.
    pub rounds_product: bool,
}

impl Blend {
    const fn exact(keep: f64, add: f64) -> Self {
        Self { keep, add, rounds_product: false }
    }

    /// The updated value, computed in `f64` and rounded once where `rounds_product` is not set.
    ///
    /// What has no weight cannot matter, not even a NaN.
    #[must_use]
    pub fn apply<P: Element>(&self, running: P, batch: f64) -> P {
        let round =
            |value: f64| if self.rounds_product { P::from_f64(value).to_f64() } else { value };
        let kept = if self.keep == 0.0 { 0.0 } else { round(round(self.keep) * running.to_f64()) };
        P::from_f64(if self.add == 0.0 { kept } else { kept + self.add * batch })
    }
}

/// Updates running statistics on the host with one batch's moments, one for each channel.
///
/// The caller advances [`Seen`] itself.
///
/// # Panics
///
/// Where the three lengths differ.
pub fn update_running<P: Element>(
    moments: &[ChannelMoments],
    blend: Blend,
    variance: RunningVariance,
    running_mean: &mut [P],
    running_var: &mut [P],
) {
    assert_eq!([running_mean.len(), running_var.len()], [moments.len(); 2], "one per channel");
    for ((moments, mean), var) in moments.iter().zip(running_mean).zip(running_var) {
        *mean = blend.apply(*mean, moments.mean);
        *var = blend.apply(*var, variance.of(moments));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_old_are_mirror_images() {
        let seen = Seen::default();
        let (new, old) = (Momentum::New(0.25).blend(&seen), Momentum::Old(0.75).blend(&seen));
        assert_eq!(new, old);
        assert_eq!(new.apply(4.0, 8.0), 5.0);
    }

    #[test]
    fn what_has_no_weight_does_not_matter() {
        let seen = Seen::default();
        assert_eq!(Momentum::New(0.0).blend(&seen).apply(4.0, f64::NAN), 4.0);
        assert_eq!(Momentum::New(1.0).blend(&seen).apply(f64::NAN, 8.0), 8.0);
    }

    #[test]
    fn a_constant_mean_stays_itself_in_caffe_sums() {
        let momentum = Momentum::CaffeSum(0.9);
        let (mut seen, mut sum) = (Seen::default(), 0.0f32);
        for _ in 0..500 {
            sum = momentum.blend(&seen).apply(sum, 1.0);
            seen = seen.next::<f32>(&momentum);
            assert_eq!(f64::from(sum), seen.factor);
        }
    }

    #[test]
    fn cumulative_is_the_plain_average() {
        let (mut seen, mut running) = (Seen::default(), f64::NAN);
        for batch in [3.0, 5.0, 10.0] {
            running = Momentum::Cumulative.blend(&seen).apply(running, batch);
            seen = seen.next::<f64>(&Momentum::Cumulative);
        }
        approx::assert_relative_eq!(running, 6.0, max_relative = 1e-15);
        assert_eq!(seen.batches, 3);
    }

    #[test]
    fn the_caffe_factor_reaches_its_fixed_point_in_f32() {
        // The fixed points that files of real Caffe hold, not 1/(1 − a).
        for (fraction, fixed_point) in
            [(0.9f32, 9.999_993_f32), (0.99, 99.999_72), (0.999, 999.982_36)]
        {
            let momentum = Momentum::CaffeSum(f64::from(fraction));
            let mut seen = Seen::default();
            for _ in 0..20_000 {
                seen = seen.next::<f32>(&momentum);
            }
            assert_eq!(seen.factor, f64::from(fixed_point));
            assert_eq!(seen.scale(&momentum), 1.0 / f64::from(fixed_point));
        }
        assert_eq!(Seen::default().scale(&Momentum::CaffeSum(0.9)), 0.0);
    }

    #[test]
    fn weights_outside_their_range_are_refused() {
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(Momentum::New(bad).check(), Err(Error::Momentum { .. })));
            assert!(matches!(Momentum::Old(bad).check(), Err(Error::Momentum { .. })));
        }
        assert_eq!(Momentum::CaffeSum(7.0).check(), Ok(()));
        assert!(Momentum::CaffeSum(f64::NAN).check().is_err());
        assert_eq!(Momentum::Cumulative.check(), Ok(()));
    }
}
