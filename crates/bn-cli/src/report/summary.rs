//! The least, the mean and the largest value of a tensor, and how many are NaN.

use bn_core::Element;

use crate::tensor::{View, with_view};

/// What a table says about a tensor's values. The first three leave NaN out.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) nan: usize,
}

impl Summary {
    /// Looks at every value once.
    pub(crate) fn of(values: View<'_>) -> Self {
        with_view!(values, values => Self::of_slice(values))
    }

    fn of_slice<E: Element>(values: &[E]) -> Self {
        let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        let mut nan = 0;
        for value in values.iter().map(|value| value.to_f64()) {
            if value.is_nan() {
                nan += 1;
            } else {
                (min, max, sum) = (min.min(value), max.max(value), sum + value);
            }
        }
        let count = values.len() - nan;
        let known = |value| (count > 0).then_some(value);
        Self { min: known(min), mean: known(sum / count as f64), max: known(max), nan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_counted_and_left_out() {
        let summary = Summary::of(View::F32(&[1.0, f32::NAN, 3.0, -1.0]));
        assert_eq!(summary, Summary { min: Some(-1.0), mean: Some(1.0), max: Some(3.0), nan: 1 });
        let all_nan = Summary::of(View::F64(&[f64::NAN]));
        assert_eq!(all_nan, Summary { nan: 1, ..Summary::default() });
    }
}
