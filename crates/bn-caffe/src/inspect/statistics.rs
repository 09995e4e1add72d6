//! Stored sums as mean and variance.

use crate::blob::{Blob, Element};

/// Smallest and largest of some values; NaN is passed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Range {
    /// The range of values; none where there is no number.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().filter(|v| !v.is_nan()).fold(None, |range: Option<Self>, v| {
            Some(
                range.map_or(Self { min: v, max: v }, |r| Self {
                    min: r.min.min(v),
                    max: r.max.max(v),
                }),
            )
        })
    }

    /// The largest magnitude.
    #[must_use]
    pub fn abs_max(self) -> f64 {
        self.min.abs().max(self.max.abs())
    }
}

/// The statistics of a BatchNorm layer: what it normalises by when it uses the stored ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The scale factor, blob 2. The stored mean and variance are sums that it divides.
    pub factor: f64,
    /// Range of the mean, divided.
    pub mean: Option<Range>,
    /// Range of the variance, divided.
    pub variance: Option<Range>,
    /// Variances that are denormal in single precision; some processors read them as 0.
    pub denormal_variances: usize,
    /// Variances below 0.
    pub negative_variances: usize,
    /// Means and variances that are infinite or NaN.
    pub non_finite: usize,
    /// Means and variances other than 0.
    pub non_zero: usize,
}

impl Statistics {
    /// Divides as Caffe does: multiplies by the rounded reciprocal of the factor, which is 0 for a
    /// factor of 0, in the precision of the file. `factor` is the value of blob 2.
    #[must_use]
    pub fn of(mean: &Blob, variance: &Blob, factor: &Blob) -> Option<Self> {
        let single = variance.element() != Element::F64;
        let factor = factor.values().next()?;
        let reciprocal = match (factor == 0.0, single) {
            (true, _) => 0.0,
            (false, true) => f64::from(1.0 / factor as f32),
            (false, false) => 1.0 / factor,
        };
        let divided = move |sum: f64| {
            if single { f64::from(sum as f32 * reciprocal as f32) } else { sum * reciprocal }
        };
        let variances = || variance.values().map(divided);
        let both = || mean.values().chain(variance.values());
        Some(Self {
            factor,
            mean: Range::of(mean.values().map(divided)),
            variance: Range::of(variances()),
            denormal_variances: variances().filter(|&v| (v as f32).is_subnormal()).count(),
            negative_variances: variances().filter(|&v| v < 0.0).count(),
            non_finite: both().filter(|v| !v.is_finite()).count(),
            non_zero: both().filter(|&v| v != 0.0).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Shape;

    fn blob(values: &[f32]) -> Blob {
        Blob::from_f32(Shape::new([values.len()]).expect("small"), values).expect("fits")
    }

    #[test]
    fn sums_are_multiplied_by_the_reciprocal() {
        let stats = Statistics::of(&blob(&[3.0, -6.0]), &blob(&[-3.0, 1e-39]), &blob(&[3.0]));
        let stats = stats.expect("a factor");
        let third = 1.0f32 / 3.0;
        assert_eq!(stats.mean, Some(Range { min: f64::from(-6.0 * third), max: 1.0 }));
        assert_eq!((stats.negative_variances, stats.denormal_variances), (1, 1));
    }

    #[test]
    fn a_factor_of_zero_gives_zeros() {
        let stats = Statistics::of(&blob(&[3.0]), &blob(&[f32::NAN]), &blob(&[0.0]));
        let stats = stats.expect("a factor");
        assert_eq!(stats.mean, Some(Range { min: 0.0, max: 0.0 }));
        assert_eq!((stats.non_zero, stats.non_finite), (2, 1));
    }
}
