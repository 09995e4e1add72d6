//! Sums in the precision of the layer, in the order of Caffe's BLAS.
//!
//! Caffe sums over positions with one matrix-vector product and over samples with a second one. The
//! real Caffe whose runs are at hand was linked with OpenBLAS on a CPU with AVX2 and FMA, and its
//! sums depend on that: on the width of the registers, on how many columns a kernel takes at once,
//! and on where the compiler fused a product and a sum. The order here was found from those runs and
//! gives their bits, all of them. It is a fit to their shapes: another BLAS, another CPU or another
//! shape may differ in the last place, as they do for Caffe itself. Least certain is the order over
//! samples in `f32` with four channels or more: pairs were seen with 4 samples, plain order with 6,
//! 16 and 32, and nothing else was recorded. Nor were rows beyond 256 values.

use super::Real;

/// Sums over samples and positions of an N × C × S tensor: `f` of each offset, rows first, each
/// multiplied by `alpha`, then over the samples.
pub(super) fn channels<T: Real>(
    (n, c, s): (usize, usize, usize),
    alpha: T,
    f: impl Fn(usize) -> T,
) -> Vec<T> {
    let rows = n * c;
    // Four rows at once, then two in registers of 128 bits, then one in two such registers.
    let lanes = |row: usize| if row >= rows & !3 && row < rows & !1 { 4 } else { T::LANES };
    let sum_of = |row: usize| self::row(s, lanes(row), alpha, |i| f(row * s + i));
    (0..c).map(|channel| samples(c, channel, n, |sample| sum_of(sample * c + channel))).collect()
}

/// alpha·Σ of one row.
///
/// Blocks of `lanes` values in as many sums, an odd half block first; the halves of the register,
/// then neighbours are added. One to three values at the end are multiplied by alpha one by one.
fn row<T: Real>(len: usize, lanes: usize, alpha: T, f: impl Fn(usize) -> T) -> T {
    let whole = len & !3;
    let mut sums = [T::default(); 8];
    let mut start = 0;
    if lanes == 8 && whole & 4 != 0 {
        (0..4).for_each(|lane| sums[lane] = f(lane));
        start = 4;
    }
    for block in (start..whole).step_by(lanes) {
        (0..lanes).for_each(|lane| sums[lane] += f(block + lane));
    }
    let mut width = lanes;
    if lanes == T::LANES {
        width /= 2;
        (0..width).for_each(|lane| sums[lane] += sums[lane + width]);
    }
    while width > 1 {
        width /= 2;
        (0..width).for_each(|lane| sums[lane] = sums[2 * lane] + sums[2 * lane + 1]);
    }
    let sum = sums[0] * alpha;
    let tail = |i: usize| f(whole + i);
    match len - whole {
        0 => sum,
        1 => tail(0).fused(alpha, sum),
        2 => sum + tail(0).fused(alpha, tail(1) * alpha),
        _ => sum + tail(2).fused(alpha, tail(0).fused(alpha, tail(1) * alpha)),
    }
}

/// Σ over the samples of one channel's row sums.
fn samples<T: Real>(channels: usize, channel: usize, n: usize, f: impl Fn(usize) -> T) -> T {
    let in_kernel = channel < channels & !3;
    let double = T::LANES == 4;
    let (block, pairs) = match (in_kernel, channels) {
        (true, _) if double => (4, false),
        (true, _) if n == 4 => (4, true),
        (false, 3) => (2, false),
        (false, 2) if double => (2, false),
        _ => (1, false),
    };
    let mut sum = T::default();
    let whole = n - n % block;
    for first in (0..whole).step_by(block) {
        sum += match (block, pairs) {
            (4, true) => (f(first) + f(first + 2)) + (f(first + 1) + f(first + 3)),
            _ => (1..block).fold(f(first), |sum, i| sum + f(first + i)),
        };
    }
    (whole..n).fold(sum, |sum, sample| sum + f(sample))
}
