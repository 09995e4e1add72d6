//! Sums in the precision of the layer, in the order of Caffe's BLAS.

use super::Real;

/// Σ `values` of one row: `f` of each index.
pub(super) fn row<T: Real>(len: usize, f: impl Fn(usize) -> T) -> T {
    (0..len).fold(T::default(), |sum, i| sum + f(i))
}

/// Sums over samples and positions of an N × C × S tensor: `f` of each offset, rows first, each
/// multiplied by `alpha`, then over the samples.
pub(super) fn channels<T: Real>(
    (n, c, s): (usize, usize, usize),
    alpha: T,
    f: impl Fn(usize) -> T,
) -> Vec<T> {
    let mut sums = vec![T::default(); c];
    for sample in 0..n {
        for (channel, sum) in sums.iter_mut().enumerate() {
            let first = (sample * c + channel) * s;
            *sum += alpha * row(s, |i| f(first + i));
        }
    }
    sums
}
