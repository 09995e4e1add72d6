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
    /// Those of which these are the mean and M2. The others are summed again, in [`Precision::Double`]; about
    /// this mean where these sums were so taken, and see [`crate::statistics::Verdict::Again`] where not.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};
    use crate::statistics::{self, Sums, Verdict};

    /// Numbers at the edges of what can be trusted and of the ranges of `f32` and `f64`.
    const EDGES: [f64; 22] = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        1e4,
        -3e7,
        1e-12,
        SMALL_CONSTANT,
        SMALL_SQUARE,
        SMALL_GRADIENT,
        WIDEST,
        -WIDEST * 2.0,
        1.0 / WIDEST,
        0.5 / WIDEST,
        1e300,
        -1e300,
        1e-310,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];

    /// Eight cases in lanes, each of five numbers, against the same one by one.
    struct Compare([[f64; 8]; 5]);

    impl Compare {
        fn lanes<S: Simd>(&self, simd: S) -> [S::F64; 5] {
            // SAFETY: the arrays have 8 places.
            self.0.map(|numbers| unsafe { S::F64::load(simd, numbers.as_ptr()) })
        }

        fn agree<S: Simd, const N: usize>(
            &self,
            (k, wide): ([S::F64; N], u32),
            scalar: impl Fn([f64; 5]) -> ([f64; N], bool),
        ) {
            let k = k.map(values::<S>);
            for i in 0..8 {
                let (expected, narrow) = scalar(self.0.map(|numbers| numbers[i]));
                assert_eq!(wide >> i & 1 == 0, narrow, "{:?}", self.0.map(|numbers| numbers[i]));
                for (k, expected) in k.iter().zip(expected) {
                    same(k[i], expected, self.0.map(|numbers| numbers[i]));
                }
            }
        }

        fn judge<S: Simd>(&self, simd: S, count: f64, precision: Precision, round: usize) {
            let [first, second, shift, ..] = self.lanes(simd);
            let judged = judge(simd, [first, second], count, shift, precision, round);
            let (means, m2s) = (values::<S>(judged.mean), values::<S>(judged.m2));
            for i in 0..8 {
                let [first, second, shift, ..] = self.0.map(|numbers| numbers[i]);
                let case = [first, second, shift, 0.0, 0.0];
                match (Sums { first, second }).judge(count, shift, precision, round) {
                    Verdict::Good(mean, m2) => {
                        assert!(judged.good >> i & 1 != 0, "{case:?} {precision:?} {round}");
                        same(means[i], mean, case);
                        same(m2s[i], m2, case);
                    }
                    Verdict::Again(about) => {
                        assert!(judged.good >> i & 1 == 0, "{case:?} {precision:?} {round}");
                        if precision == Precision::Double {
                            same(means[i], about, case);
                        }
                    }
                }
            }
        }
    }

    fn values<S: Simd>(lanes: S::F64) -> [f64; 8] {
        let mut values = [0.0; 8];
        // SAFETY: the array has 8 places.
        unsafe { lanes.store(values.as_mut_ptr()) };
        values
    }

    fn same(value: f64, expected: f64, case: [f64; 5]) {
        let both_nan = value.is_nan() && expected.is_nan();
        assert!(both_nan || value == expected, "{value:e} for {expected:e} in {case:?}");
    }

    impl Kernel for Compare {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let [mean, inv_std, gamma, beta, _] = self.lanes(simd);
            let numbers = [mean, inv_std, gamma, beta];
            let one = |[mean, inv_std, gamma, beta, _]: [f64; 5]| {
                statistics::forward_coefficients::<f32>(mean, inv_std, gamma, beta)
            };
            self.agree::<S, 3>(forward_coefficients::<S, f32>(simd, numbers), one);
            let one = |[mean, inv_std, gamma, beta, _]: [f64; 5]| {
                statistics::forward_coefficients::<f64>(mean, inv_std, gamma, beta)
            };
            self.agree::<S, 3>(forward_coefficients::<S, f64>(simd, numbers), one);
            let numbers = self.lanes(simd);
            let one = |[mean, mean_dy, factor, scale, inv_std]: [f64; 5]| {
                statistics::backward_coefficients::<f32>(mean, mean_dy, factor, scale, inv_std)
            };
            self.agree::<S, 5>(backward_coefficients::<S, f32>(simd, numbers), one);
            for round in 0..ROUNDS {
                for precision in [Precision::Single, Precision::Double] {
                    for count in [49.0, 4096.0] {
                        self.judge(simd, count, precision, round);
                    }
                }
            }
        }
    }

    #[test]
    fn eight_at_a_time_are_the_same_as_one_by_one() {
        // Every edge meets every other in the first three places, and several in the last two.
        let pick = |i: usize| EDGES[i % EDGES.len()];
        for a in 0..EDGES.len() {
            for b in 0..EDGES.len() {
                let row = |shift: usize| core::array::from_fn(|lane| pick(shift + 3 * lane));
                let case = [[pick(a); 8], [pick(b); 8], row(0), row(a + 1), row(b + 2)];
                for level in Level::available() {
                    level.run(Compare(case));
                    level.run(Compare([case[2], case[0], case[3], case[4], case[1]]));
                }
            }
        }
    }
}
