//! How far an output lies from the recorded one, and how far it may.

use crate::layer::Real;

/// What an output may differ by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Not by a bit; any NaN equals any other.
    Identical,
    /// At most so much in any value.
    Within(f64),
}

/// One output of one step, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The step, from 0.
    pub step: usize,
    /// The manifest's name of the output: y, dx, dgamma, `blob0_after`, …
    pub name: String,
    /// The largest distance from the recorded values; infinite where one is NaN and the other not,
    /// or where the numbers of values differ.
    pub max_abs: f64,
    /// The largest finite recorded magnitude.
    pub max_expected: f64,
    /// Values that are not the same bits.
    pub different: usize,
    /// How many values there are.
    pub values: usize,
    /// What is allowed.
    pub bound: Bound,
}

impl Output {
    /// Compares computed with recorded values.
    pub(crate) fn new<T: Real>(
        step: usize,
        name: impl Into<String>,
        found: &[T],
        expected: &[T],
        bound: impl FnOnce(f64) -> Bound,
    ) -> Self {
        let magnitudes = expected.iter().map(|v| v.to_f64().abs()).filter(|v| v.is_finite());
        let max_expected = magnitudes.fold(0.0, f64::max);
        let pairs = || found.iter().zip(expected);
        let distance = |(found, expected): (&T, &T)| {
            let distance = (found.to_f64() - expected.to_f64()).abs();
            match found.same(*expected) {
                true => 0.0,
                false if distance.is_nan() => f64::INFINITY,
                false => distance,
            }
        };
        let same_count = found.len() == expected.len();
        let max_abs = pairs().map(distance).fold(0.0, f64::max);
        let different = pairs().filter(|(found, expected)| !found.same(**expected)).count();
        Self {
            step,
            name: name.into(),
            max_abs: if same_count { max_abs } else { f64::INFINITY },
            max_expected,
            different: different + found.len().abs_diff(expected.len()),
            values: expected.len(),
            bound: bound(max_expected),
        }
    }

    /// Whether the output is within its bound.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self.bound {
            Bound::Identical => self.different == 0,
            Bound::Within(bound) => self.max_abs <= bound,
        }
    }
}
