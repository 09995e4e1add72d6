//! What [`crate::statistics`] says of one statistic, for eight at a time: the same arithmetic, and so the
//! same bits.
//!
//! One by one, a division, a square root and a handful of comparisons take as long as half of the sums of
//! a channel of 7×7. Results are masks: bit i for lane i.

use crate::simd::{Eight, Real, Simd, Vector};
use crate::statistics::{
    Precision, ROUNDS, SMALL_CONSTANT, SMALL_GRADIENT, SMALL_SQUARE, WIDEST, limit,
};

/// What the sums of eight channels say.
pub(crate) struct Judged<V> {
    pub(crate) mean: V,
    pub(crate) m2: V,
    /// Those of which these are the mean and M2. The others are summed again, in [`Precision::Double`]
    /// about this mean.
    pub(crate) good: u32,
}

/// The lanes that are not 0; NaN is not.
#[inline(always)]
fn is_not_zero<S: Simd>(simd: S, value: S::F64) -> u32 {
    value.abs().not_below(S::F64::splat(simd, 0.0))
}

/// [`crate::statistics::Sums::judge`].
#[inline(always)]
pub(crate) fn judge<S: Simd>(
    simd: S,
    [first, second]: [S::F64; 2],
    count: f64,
    shift: S::F64,
    precision: Precision,
    round: usize,
) -> Judged<S::F64> {
    let splat = |value| S::F64::splat(simd, value);
    let offset = first.div(splat(count));
    let mean = shift.add(offset);
    let m2 = second.sub(first.mul(offset));
    let judged = |good| Judged { mean, m2: m2.relu(), good };
    if round == ROUNDS - 1 {
        return judged(u32::MAX);
    }
    let overflown = first.is_not_finite() | second.is_not_finite();
    let single = precision == Precision::Single;
    let limit = splat(limit(precision, round, count));
    let mut again = offset.mul(first).not_below(limit.mul(m2)) & !overflown;
    if single {
        let constant = !is_not_zero(simd, first)
            & !is_not_zero(simd, second)
            & !splat(SMALL_CONSTANT).not_below(shift.abs());
        again |= splat(count * SMALL_SQUARE).not_below(second) & !constant | overflown;
    } else {
        again |= overflown & !mean.is_not_finite() & is_not_zero(simd, shift.sub(mean));
    }
    judged(!again | shift.is_nan())
}

/// The lanes that are beyond the range of a coefficient in `f32`; 0 is where `zero` is not.
#[inline(always)]
fn does_not_fit<S: Simd>(simd: S, value: S::F64, zero: bool) -> u32 {
    let (low, high) = (S::F64::splat(simd, 1.0 / WIDEST), S::F64::splat(simd, WIDEST));
    let size = value.abs();
    let small = low.not_below(size);
    size.not_below(high) | if zero { small & is_not_zero(simd, value) } else { small }
}

/// [`crate::statistics::rounded`]. Beyond the range of `f32` it is infinite, and of no use.
#[inline(always)]
pub(crate) fn rounded<S: Simd, R: Real>(simd: S, value: S::F64) -> S::F64 {
    if size_of::<R>() == 8 {
        return value;
    }
    let mut narrow = [0.0; 8];
    // SAFETY: the array has 8 places.
    unsafe { value.store_narrow(narrow.as_mut_ptr()) };
    // SAFETY: the same.
    unsafe { simd.load_wide(narrow.as_ptr()) }
}

/// [`crate::statistics::forward_coefficients`], and the lanes that need `f64`.
#[inline(always)]
pub(crate) fn forward_coefficients<S: Simd, R: Real>(
    simd: S,
    [mean, inv_std, gamma, beta]: [S::F64; 4],
) -> ([S::F64; 3], u32) {
    let scale = inv_std.mul(gamma);
    let wide = deviations_do_not_fit(simd, mean, inv_std) | does_not_fit(simd, scale, true);
    let centre = rounded::<S, R>(simd, mean);
    let offset = beta.sub(mean.sub(centre).mul(scale));
    ([centre.select(mean, wide), scale, offset.select(beta, wide)], wide)
}

/// [`crate::statistics::backward_coefficients`], and the lanes that need `f64`.
#[inline(always)]
pub(crate) fn backward_coefficients<S: Simd, R: Real>(
    simd: S,
    [mean, mean_dy, factor, scale, inv_std]: [S::F64; 5],
) -> ([S::F64; 5], u32) {
    let through = factor.mul(scale);
    let mut wide = deviations_do_not_fit(simd, mean, inv_std);
    for value in [mean_dy, factor, scale, through] {
        wide |= does_not_fit(simd, value, true);
    }
    let [centre, dy_centre] = [rounded::<S, R>(simd, mean), rounded::<S, R>(simd, mean_dy)];
    let lacking = mean.sub(centre).mul(factor).sub(mean_dy.sub(dy_centre));
    let k = [
        centre.select(mean, wide),
        dy_centre.select(mean_dy, wide),
        through,
        scale,
        lacking.mul(scale).keep(!wide),
    ];
    (k, wide)
}

/// The lanes in which x − mean cannot be taken in `f32`.
#[inline(always)]
pub(crate) fn deviations_do_not_fit<S: Simd>(simd: S, mean: S::F64, inv_std: S::F64) -> u32 {
    let widest = S::F64::splat(simd, WIDEST);
    mean.abs().not_below(widest) | does_not_fit(simd, inv_std, false)
}

/// The lanes in which sums of dy and dy·(x − mean) taken in `f32` cannot be trusted.
#[inline(always)]
pub(crate) fn gradient_sums_do_not_hold<S: Simd>(
    simd: S,
    [first, second]: [S::F64; 2],
    count: f64,
) -> u32 {
    let small = S::F64::splat(simd, count * SMALL_GRADIENT);
    first.is_not_finite() | second.is_not_finite() | small.not_below(second.abs())
}
