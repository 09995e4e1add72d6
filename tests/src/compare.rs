//! Whether two outputs agree, and what to say where they do not.

use bn_core::{Element, Scalar};

use crate::tolerance::half_ulp;

/// What a trial comes to: nothing, or what was wrong.
pub(crate) type Verdict = Result<(), String>;

/// The reference's values of one output, and how far beyond rounding an answer may be off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub values: Vec<f64>,
    pub slack: Vec<f64>,
}

impl Expected {
    /// The same tolerances around other values.
    pub(crate) fn around(&self, values: Vec<f64>) -> Self {
        Self { values, slack: self.slack.clone() }
    }

    /// Answers that must be these, rounded.
    pub(crate) fn rounded(values: Vec<f64>) -> Self {
        let slack = vec![0.0; values.len()];
        Self { values, slack }
    }

    /// Whether every value of `found` lies within its tolerance.
    ///
    /// NaN is expected where the reference has NaN, an infinity where rounding gives one.
    pub(crate) fn meets<E: Element>(&self, name: &str, found: &[E]) -> Verdict {
        same_length(name, found.len(), self.values.len())?;
        let mut worst: Option<(f64, usize, f64)> = None;
        let mut wrong = 0;
        for (index, (&found, (&value, &slack))) in
            found.iter().zip(self.values.iter().zip(&self.slack)).enumerate()
        {
            let tolerance = half_ulp(E::DTYPE, value) + slack;
            if is_within(found, value, tolerance) {
                continue;
            }
            let excess = ((found.to_f64() - value) / tolerance).abs();
            wrong += 1;
            if worst.is_none_or(|(worst, ..)| excess > worst) {
                worst = Some((excess, index, tolerance));
            }
        }
        let Some((excess, index, tolerance)) = worst else { return Ok(()) };
        Err(format!(
            "{name}[{index}] is {:?}; expected {:?} ± {tolerance:.2e} (off by {excess:.3} tolerances; \
             {wrong} of {} values wrong)",
            found[index],
            self.values[index],
            found.len(),
        ))
    }
}

fn is_within<E: Element>(found: E, value: f64, tolerance: f64) -> bool {
    let (exact, rounded) = (found.to_f64(), E::from_f64(value).to_f64());
    if value.is_nan() {
        return exact.is_nan();
    }
    exact == rounded || (exact - value).abs() <= tolerance || {
        // Near the largest value, an answer within the slack may round to infinity, and back.
        let reaches = |end: f64| E::from_f64(end).to_f64() == exact;
        (exact.is_infinite() || rounded.is_infinite())
            && (reaches(value - tolerance) || reaches(value + tolerance))
    }
}

/// Whether two outputs are the same bits.
pub(crate) fn same_bits<E: Scalar>(name: &str, found: &[E], expected: &[E]) -> Verdict {
    same_length(name, found.len(), expected.len())?;
    let differs =
        |(found, expected): (&E, &E)| bytemuck::bytes_of(found) != bytemuck::bytes_of(expected);
    let Some(index) = found.iter().zip(expected).position(differs) else { return Ok(()) };
    let wrong = found.iter().zip(expected).filter(|pair| differs(*pair)).count();
    Err(format!(
        "{name}[{index}] is {:?}; expected the bits of {:?} ({wrong} of {} values differ)",
        found[index],
        expected[index],
        found.len(),
    ))
}

/// [`same_bits`] where both may be absent.
pub(crate) fn same_bits_option<E: Scalar>(
    name: &str,
    found: Option<&[E]>,
    expected: Option<&[E]>,
) -> Verdict {
    match (found, expected) {
        (Some(found), Some(expected)) => same_bits(name, found, expected),
        (None, None) => Ok(()),
        _ => Err(format!("{name} is there in one answer and not in the other")),
    }
}

/// Whether `condition` holds; what was wrong where it does not.
pub(crate) fn ensure(condition: bool, wrong: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(wrong()) }
}

fn same_length(name: &str, found: usize, expected: usize) -> Verdict {
    ensure(found == expected, || format!("{name} has {found} values; expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_core::f16;

    #[test]
    fn tolerances_are_kept_on_both_sides() {
        let expected = Expected { values: vec![1.0], slack: vec![1e-6] };
        assert!(expected.meets("y", &[1.0f32 + 9e-7]).is_ok());
        assert!(expected.meets("y", &[1.0f32 - 9e-7]).is_ok());
        assert!(expected.meets("y", &[1.0f32 + 1.2e-6]).is_err());
        assert!(expected.meets("y", &[f32::NAN]).is_err());
        assert!(expected.meets("y", &[1.0f32; 2]).is_err());
    }

    #[test]
    fn what_is_not_finite_must_be_expected() {
        let expected = |value| Expected::rounded(vec![value]);
        assert!(expected(f64::NAN).meets("y", &[f32::NAN]).is_ok());
        assert!(expected(f64::NAN).meets("y", &[0.0f32]).is_err());
        assert!(expected(1e6).meets("y", &[f16::INFINITY]).is_ok());
        assert!(expected(1e6).meets("y", &[f16::NEG_INFINITY]).is_err());
        assert!(expected(6e4).meets("y", &[f16::INFINITY]).is_err());
    }
}
