//! From sums to statistics, and whether the sums can be trusted.
//!
//! Sums are taken of d = x − K with K one of the channel's own values, or the mean of a few of them:
//! constants then give exactly 0,
//! and d is exact where the values lie near each other. mean = K + Σd/m, M2 = Σd² − (Σd)²/m. The latter
//! cancels where K is far from the mean, and squares leave the range of `f32` near its ends; both are
//! seen in the sums, and such a channel is summed again in `f64` about a better K.

use crate::simd::Real;

/// Σd and Σd² over a channel's values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) first: f64,
    pub(crate) second: f64,
}

/// What the sums of a channel say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// These are its mean and M2.
    Good(f64, f64),
    /// Sum again in `f64`, about this K.
    Again(f64),
}

/// How the sums were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// In short runs of `f32`, gathered in `f64`.
    Single,
    /// In `f64`.
    Double,
}

/// How often a channel is summed at most.
pub(crate) const ROUNDS: usize = 4;

/// So few values are summed about their mean, because even a little cancellation shows.
pub(crate) const FEW: f64 = 64.0;

/// How much of Σd² may cancel: the squared offset over the variance.
pub(crate) fn limit(precision: Precision, round: usize, count: f64) -> f64 {
    match precision {
        Precision::Single => 6.0,
        Precision::Double if round == 0 && count < FEW => f64::from_bits((1023 - 20) << 52),
        Precision::Double => 16.0,
    }
}

/// Squares below 2^-126 lose bits in `f32`, or vanish: Σd² has to be this large for each value.
pub(crate) const SMALL_SQUARE: f64 = f64::from_bits((1023 - 90) << 52);

/// Differences of values as large as this do not vanish in `f32`.
pub(crate) const SMALL_CONSTANT: f64 = f64::from_bits((1023 - 40) << 52);

/// Σdy·(x − mean) has to be this large for each value.
pub(crate) const SMALL_GRADIENT: f64 = f64::from_bits((1023 - 100) << 52);

/// The size of a coefficient in `f32` at most, and at least its inverse: none leaves the range on the way.
pub(crate) const WIDEST: f64 = f64::from_bits((1023 + 115) << 52);

impl Sums {
    /// Judges the sums of `count` values about `shift`, the first time in round 0.
    pub(crate) fn judge(
        self,
        count: f64,
        shift: f64,
        precision: Precision,
        round: usize,
    ) -> Verdict {
        let offset = self.first / count;
        let mean = shift + offset;
        let m2 = self.second - self.first * offset;
        // A NaN stays one.
        let good = Verdict::Good(mean, if m2 < 0.0 { 0.0 } else { m2 });
        if round == ROUNDS - 1 || shift.is_nan() {
            return good;
        }
        if !(self.first.is_finite() && self.second.is_finite()) {
            return match precision {
                // Squares that overflow f64 leave M2 infinite, but not NaN, about the mean.
                Precision::Double if mean.is_finite() && shift != mean => Verdict::Again(mean),
                Precision::Double => good,
                Precision::Single => Verdict::Again(shift),
            };
        }
        if offset * self.first > limit(precision, round, count) * m2 {
            return Verdict::Again(mean);
        }
        let small = count * SMALL_SQUARE;
        let constant = self.first == 0.0 && self.second == 0.0 && shift.abs() >= SMALL_CONSTANT;
        if precision == Precision::Single && self.second < small && !constant {
            return Verdict::Again(mean);
        }
        good
    }
}

/// Whether a number can be a coefficient in `f32` without leaving its range on the way.
fn fits(value: f64) -> bool {
    value == 0.0 || (1.0 / WIDEST..=WIDEST).contains(&value.abs())
}

/// A number as lanes hold it.
fn rounded<R: Real>(value: f64) -> f64 {
    if size_of::<R>() == 8 { value } else { f64::from(value as f32) }
}

/// The coefficients of one channel in y = (x − centre)·scale + offset, and whether they do as lanes of `R`.
///
/// x − centre must cancel exactly what x and the mean have in common, so the centre is the mean as a lane
/// holds it; what that lacks goes into the offset.
pub(crate) fn forward_coefficients<R: Real>(
    mean: f64,
    inv_std: f64,
    gamma: f64,
    beta: f64,
) -> ([f64; 3], bool) {
    let scale = inv_std * gamma;
    let narrow = mean.abs() <= WIDEST && inv_std != 0.0 && fits(inv_std) && fits(scale);
    if !narrow {
        return ([mean, scale, beta], false);
    }
    let centre = rounded::<R>(mean);
    ([centre, scale, beta - (mean - centre) * scale], true)
}

/// The same for backward, in dx = (dy − dy_centre)·scale − (x − centre)·through + offset: what
/// (dy − mean_dy − (x − mean)·factor)·scale is, with both means taken apart as above.
pub(crate) fn backward_coefficients<R: Real>(
    mean: f64,
    mean_dy: f64,
    factor: f64,
    scale: f64,
    inv_std: f64,
) -> ([f64; 5], bool) {
    let through = factor * scale;
    let narrow = mean.abs() <= WIDEST
        && inv_std != 0.0
        && [inv_std, mean_dy, factor, scale, through].into_iter().all(fits);
    if !narrow {
        return ([mean, mean_dy, through, scale, 0.0], false);
    }
    let (centre, dy_centre) = (rounded::<R>(mean), rounded::<R>(mean_dy));
    let offset = ((mean - centre) * factor - (mean_dy - dy_centre)) * scale;
    ([centre, dy_centre, through, scale, offset], true)
}
