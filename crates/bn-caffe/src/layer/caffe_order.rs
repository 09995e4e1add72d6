//! BatchNorm as Caffe's CPU code computes it: every step rounds to the layer's precision.

use super::{Real, sums};

/// A tensor as N × C × S.
pub(super) type Dims = (usize, usize, usize);

/// Replaces every value by a function of it and its channel.
fn each<T: Real>((_, c, s): Dims, values: &mut [T], f: impl Fn(usize, T) -> T) {
    for (row, values) in values.chunks_exact_mut(s).enumerate() {
        for value in values {
            *value = f(row % c, *value);
        }
    }
}

/// 1/m in double precision, rounded, as it goes into BLAS.
fn reciprocal<T: Real>((n, _, s): Dims) -> T {
    T::from_f64(1.0 / (n * s) as f64)
}

/// Mean of each channel.
pub(super) fn mean<T: Real>(dims: Dims, x: &[T]) -> Vec<T> {
    sums::channels(dims, reciprocal(dims), |i| x[i])
}

/// x − mean, in place.
pub(super) fn centre<T: Real>(dims: Dims, x: &mut [T], mean: &[T]) {
    each(dims, x, |c, x| x - mean[c]);
}

/// Biased variance of each channel of centred values.
pub(super) fn variance<T: Real>(dims: Dims, centred: &[T]) -> Vec<T> {
    sums::channels(dims, reciprocal(dims), |i| centred[i] * centred[i])
}

/// sqrt(variance + eps).
pub(super) fn roots<T: Real>(variance: &[T], eps: T) -> Vec<T> {
    variance.iter().map(|&v| (v + eps).root()).collect()
}

/// Division by the root, in place: the last step of forward, and backward through fixed statistics.
pub(super) fn divide<T: Real>(dims: Dims, values: &mut [T], roots: &[T]) {
    each(dims, values, |c, value| value / roots[c]);
}

/// dx = (dy − mean(dy) − y·mean(dy·y))/root, in place.
///
/// Caffe forms y·Σdy·y + Σdy first and divides by m afterwards.
pub(super) fn through_batch<T: Real>(dims: Dims, dy: &mut [T], normalised: &[T], roots: &[T]) {
    let (_, c, s) = dims;
    let with_y = sums::channels(dims, T::ONE, |i| dy[i] * normalised[i]);
    let alone = sums::channels(dims, T::ONE, |i| dy[i]);
    let minus = -reciprocal::<T>(dims);
    for (i, dy) in dy.iter_mut().enumerate() {
        let channel = i / s % c;
        let product = with_y[channel] * normalised[i];
        let sum = product + alone[channel];
        *dy = (*dy + sum * minus) / roots[channel];
    }
}
