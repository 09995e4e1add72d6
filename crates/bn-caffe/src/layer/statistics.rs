//! The three blobs of a BatchNorm layer.

use super::Real;
use crate::blob::{Blob, Shape};
use crate::error::{BlobProblem, Error, Result};
use crate::inspect::Warning;

/// What a BatchNorm layer remembers: sums of means and variances, and the factor that divides them.
///
/// Written by forward alone; nothing of it is learned. Lengths are checked when a layer runs, not
/// before: Caffe takes whatever blobs a prototxt holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics<T> {
    /// Blob 0: the sum of means, one value per channel.
    pub mean: Vec<T>,
    /// Blob 1: the sum of unbiased variances, one value per channel.
    pub variance: Vec<T>,
    /// Blob 2: the factor, one value.
    pub factor: Vec<T>,
}

impl<T: Real> Statistics<T> {
    /// Zeros: what an untrained layer holds.
    #[must_use]
    pub fn zeros(channels: usize) -> Self {
        let zeros = vec![T::default(); channels];
        Self { mean: zeros.clone(), variance: zeros, factor: vec![T::default()] }
    }

    /// The values of a weight file's blobs; those that are missing stay empty.
    #[must_use]
    pub fn from_blobs(blobs: &[Blob]) -> Self {
        let values = |n: usize| blobs.get(n).map(T::values).unwrap_or_default();
        Self { mean: values(0), variance: values(1), factor: values(2) }
    }

    /// The blobs as a weight file holds them, of shapes (C), (C) and (1).
    ///
    /// # Errors
    /// [`BlobProblem::TooManyElements`].
    pub fn to_blobs(&self) -> Result<Vec<Blob>, BlobProblem> {
        let blob = |values: &[T]| T::blob(Shape::new([values.len()])?, values);
        [&self.mean, &self.variance, &self.factor].into_iter().map(|v| blob(v)).collect()
    }

    /// What the sums are multiplied by: 1/factor, or 0 where the factor is 0.
    #[must_use]
    pub fn scale(&self) -> T {
        match self.factor.first() {
            Some(&factor) if factor != T::default() => T::ONE / factor,
            _ => T::default(),
        }
    }

    /// What nobody can have meant in these values.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let all = || self.mean.iter().chain(&self.variance);
        let zero = T::default();
        if let Some(&factor) = self.factor.first() {
            let non_zero = all().filter(|&&v| v != zero).count();
            if factor == zero && non_zero > 0 {
                warnings.push(Warning::ZeroFactor { non_zero });
            }
            if factor < zero {
                warnings.push(Warning::NegativeFactor { factor: factor.to_f64() });
            }
        }
        let scale = self.scale();
        let count = self.variance.iter().filter(|&&v| v * scale < zero).count();
        if count > 0 {
            warnings.push(Warning::NegativeVariance { count });
        }
        let count = all().chain(&self.factor).filter(|v| !v.to_f64().is_finite()).count();
        if count > 0 {
            warnings.push(Warning::NonFinite { count });
        }
        warnings
    }

    /// Compares the lengths with the number of channels.
    pub(super) fn check(&self, layer: &str, channels: usize) -> Result<()> {
        let blobs = [(&self.mean, channels), (&self.variance, channels), (&self.factor, 1)];
        for (n, (values, expected)) in blobs.into_iter().enumerate() {
            if values.len() != expected {
                return Err(Error::layer(
                    layer,
                    "BatchNorm",
                    format!("values of blob {n}"),
                    values.len().to_string(),
                    expected.to_string(),
                ));
            }
        }
        Ok(())
    }

    /// Takes in the mean and biased variance of a batch of `count` values per channel, with Caffe's
    /// roundings: b2 ← round(round(a·b2) + 1), b0 ← mean + round(a·b0), b1 ← k·var + round(a·b1).
    pub(super) fn absorb(&mut self, fraction: T, count: usize, mean: &[T], variance: &[T]) {
        for factor in &mut self.factor {
            *factor = *factor * fraction + T::ONE;
        }
        let correction = match count {
            0 | 1 => T::ONE,
            // Both counts are exact in f64, and the quotient of two floats rounded by way of f64
            // is that of the floats; counts above 2²⁴ are rounded to f32 first, as in Caffe.
            _ => T::from_f64(count as f64) / T::from_f64((count - 1) as f64),
        };
        for (sum, &mean) in self.mean.iter_mut().zip(mean) {
            *sum = mean + *sum * fraction;
        }
        for (sum, &variance) in self.variance.iter_mut().zip(variance) {
            // BLAS's axpy is one fused multiply and add.
            *sum = correction.fused(variance, *sum * fraction);
        }
    }
}
