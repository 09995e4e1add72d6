//! How far an answer may lie from the reference: the tolerance table.
//!
//! An answer of type `T` may be off by half an ulp of `T` at the reference's value (the rounding that no one
//! escapes) and by the slack of its quantity, which bounds the rounding inside. With u the unit roundoff
//! of the arithmetic inside, e = 2⁻⁵³, m values behind a statistic of deviation σ:
//!
//! | element | u_T of the element | u inside | its u_P of a parameter |
//! |---|---|---|---|
//! | f32 | 2⁻²⁴ | 2⁻²⁴ | 2⁻²⁴ |
//! | f64 | 2⁻⁵³ | 2⁻⁵³ | 2⁻⁵³ |
//! | f16 | 2⁻¹¹ | 2⁻²⁴ | 2⁻²⁴ |
//! | bf16 | 2⁻⁸ | 2⁻²⁴ | 2⁻²⁴ |
//!
//! | quantity | slack | why |
//! |---|---|---|
//! | mean | u·σ + 4e·\|mean\| + 4√m·e·σ | sums of deviations in short blocks of `u`, then in `f64`; its own rounding |
//! | M2 | M2·(2u + 8e + 8√m·e) + m·slack(mean)² | the same for squares |
//! | inv_std | inv_std·(½·slack(M2)/m/(var + eps) + 4e) | the derivative of 1/√ |
//! | y | \|γ\|·inv_std·slack(mean) + \|γx̂\|·slack(inv_std)/inv_std + 4u·\|γx̂\| + 2u·(\|γx̂\| + \|β\| + \|r\|) + φ·\|γ\| | one rounding for each step of (x − mean)·inv_std·gamma + beta + r |
//! | Σdy | (8u + 2√m·e)·‖dy‖₂ + (4u + 2√m·e)·\|Σdy\| | blocks of independent roundings |
//! | Σdy·x̂ | (8u + 2√m·e)·‖dy·x̂‖₂ + (4u + 2√m·e)·\|Σdy·x̂\| + φ·(\|Σdy\| + ‖dy‖₂) | the same, and the rounding of x̂ |
//! | dgamma, dbeta | the sum of the groups' slacks | |
//! | dx | s·(4u·(\|dy\| + \|Σdy\|/m + \|x̂·Σdy·x̂\|/m) + slack(Σdy)/m + \|x̂\|·slack(Σdy·x̂)/m + φ·\|Σdy·x̂\|/m), s = \|γ\|·inv_std | one rounding for each step |
//! | running | add·slack(statistic) + 2u_P·(\|keep·old\| + \|add·new\|) | |
//!
//! φ = \|mean\|·inv_std·max(8u², 4e) is what subtracting the mean as hi + lo in arithmetic of `u` leaves: a mean
//! rounded to one `f32` would leave \|mean\|·inv_std·u, 6e-4 at mean 1e4, and fail. 16-bit answers so lie within
//! half an ulp and a little of the `f64` answer, `f32` answers within a few ulp of the largest term. At
//! mean 1e4 and deviation 1 the contract's own bound, 1e-6·max(1, \|y\|), holds besides.

use bn_core::DType;

/// The unit roundoff of an `f64`.
pub const E: f64 = f64::EPSILON / 2.0;

/// The unit roundoffs that belong to an element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Of the arithmetic inside.
    pub inside: f64,
    /// Of parameters and running statistics.
    pub param: f64,
}

impl Precision {
    /// Those of an element type.
    #[must_use]
    pub const fn of(dtype: DType) -> Self {
        const F32: f64 = f32::EPSILON as f64 / 2.0;
        match dtype {
            DType::F64 => Self { inside: E, param: E },
            _ => Self { inside: F32, param: F32 },
        }
    }

    /// What the subtraction of a mean leaves, as a part of |mean|.
    #[must_use]
    pub const fn subtraction(self) -> f64 {
        let square = 8.0 * self.inside * self.inside;
        if square > 4.0 * E { square } else { 4.0 * E }
    }
}

/// Half the distance between the values of a type around `value`.
#[must_use]
pub fn half_ulp(dtype: DType, value: f64) -> f64 {
    let (digits, least) = match dtype {
        DType::F32 => (24, -126),
        DType::F64 => (53, -1022),
        DType::F16 => (11, -14),
        DType::BF16 => (8, -126),
        DType::U8 => return 0.5,
    };
    // The exponent as it is stored, so that no logarithm rounds at a power of two.
    let exponent = (value.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    let exponent = exponent.max(least) - digits;
    match exponent {
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074.. => f64::from_bits(1 << (exponent + 1074)),
        // Half of the least subnormal number is none.
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_ulp_is_half_the_step_of_each_type() {
        assert_eq!(half_ulp(DType::F32, 1.0), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(half_ulp(DType::F64, -1.5), f64::EPSILON / 2.0);
        assert_eq!(half_ulp(DType::F16, 65504.0), 16.0);
        assert_eq!(half_ulp(DType::BF16, 1.99), 2f64.powi(-8));
        assert_eq!(half_ulp(DType::F32, 0.0), f64::from(f32::from_bits(1)) / 2.0);
        assert_eq!(half_ulp(DType::F16, 1e-30), 2f64.powi(-25));
    }
}
