//! How far a result is from the reference.

use bn_core::{DType, Element};

use crate::tensor::{View, with_view};

/// The largest difference of a result from its f64 reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Difference {
    /// The largest |result − reference|.
    pub(crate) absolute: f64,
    /// That difference in units in the last place of the unit's type, taken at that value.
    pub(crate) ulp: f64,
    /// That difference relative to the largest |reference|.
    pub(crate) relative: f64,
    /// Where it is: an index into the values in row-major order.
    pub(crate) index: usize,
    /// The largest difference in ulp of any value, each taken at its own place: large where values
    /// near zero are the difference of large ones.
    pub(crate) largest_ulp: f64,
    /// How many values are NaN or infinite where the reference is not, or the other way round.
    /// They are left out of the rest.
    pub(crate) not_comparable: usize,
}

impl Difference {
    /// Compares value by value; an ulp is that of the type `unit`.
    pub(crate) fn of(result: View<'_>, reference: &[f64], unit: DType) -> Self {
        with_view!(result, result => Self::of_slice(result, reference, unit))
    }

    fn of_slice<E: Element>(result: &[E], reference: &[f64], unit: DType) -> Self {
        let mut difference = Self::default();
        let mut scale = 0.0f64;
        for (index, (&found, &expected)) in result.iter().zip(reference).enumerate() {
            if expected.is_finite() {
                scale = scale.max(expected.abs());
            }
            // What the reference is in the result's type may well be infinite, and then it should be.
            let rounded = E::from_f64(expected);
            if found == rounded || (found.to_f64().is_nan() && expected.is_nan()) {
                let rounding = (found.to_f64() - expected).abs();
                if rounding.is_finite() {
                    difference.note(index, [found.to_f64(), expected], unit);
                }
            } else if found.to_f64().is_finite() && expected.is_finite() {
                difference.note(index, [found.to_f64(), expected], unit);
            } else {
                difference.not_comparable += 1;
            }
        }
        if difference.absolute > 0.0 {
            difference.relative = difference.absolute / scale;
        }
        difference
    }

    fn note(&mut self, index: usize, [found, expected]: [f64; 2], unit: DType) {
        let absolute = (found - expected).abs();
        let ulp = absolute / ulp(unit, found.abs().max(expected.abs()));
        self.largest_ulp = self.largest_ulp.max(ulp);
        if absolute > self.absolute {
            (self.absolute, self.ulp, self.index) = (absolute, ulp, index);
        }
    }
}

/// The distance of neighbouring numbers of a type at `size`, which is not negative.
fn ulp(dtype: DType, size: f64) -> f64 {
    // Digits of the significand, and the least exponent of a normal number.
    let (digits, least) = match dtype {
        DType::F32 => (24, -126),
        DType::F64 => (53, -1022),
        DType::F16 => (11, -14),
        DType::BF16 => (8, -126),
        DType::U8 => (1, 0),
    };
    let exponent = (size.to_bits() >> 52) as i32 - 1023;
    f64::from(exponent.max(least) - digits + 1).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ulp_is_the_distance_to_the_next_number() {
        for value in [1.0f32, 1.5, 2.0, 3e-30, 1e-40, 1e38] {
            let next = f32::from_bits(value.to_bits() + 1);
            assert_eq!(ulp(DType::F32, f64::from(value)), f64::from(next) - f64::from(value));
        }
        for value in [1.0f64, 5e-324, 1e300, 2.3e-308] {
            assert_eq!(ulp(DType::F64, value), f64::from_bits(value.to_bits() + 1) - value);
        }
        assert_eq!(ulp(DType::F16, 1.0), 2f64.powi(-10));
        assert_eq!(ulp(DType::BF16, 1.0), 2f64.powi(-7));
    }

    #[test]
    fn the_largest_difference_is_found_where_it_is() {
        let (ulp, reference) = (f64::from(f32::EPSILON), [4.0, -8.0, 1.0]);
        let result = [4.0f32, -8.0, 1.0 + 3.0 * f32::EPSILON];
        let difference = Difference::of(View::F32(&result), &reference, DType::F32);
        assert_eq!((difference.index, difference.ulp), (2, 3.0));
        assert_eq!((difference.absolute, difference.relative), (3.0 * ulp, 3.0 * ulp / 8.0));
    }

    #[test]
    fn what_cannot_be_subtracted_is_counted() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let of = |result: f32, reference| {
            Difference::of(View::F32(&[result]), &[reference], DType::F32).not_comparable
        };
        assert_eq!(of(nan, f64::NAN), 0);
        assert_eq!(of(nan, 1.0), 1);
        assert_eq!(of(1.0, f64::NAN), 1);
        assert_eq!(of(inf, 1e300), 0, "1e300 is infinite in f32");
        assert_eq!(of(inf, 1.0), 1);
        assert_eq!(of(-inf, f64::INFINITY), 1);
    }
}
