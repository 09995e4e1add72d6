//! Numbers of twice the precision of an `f64`, as an unevaluated sum of two.

/// A number held as the sum of two `f64`, some 106 bits: what the reference computes in, so that its own
/// rounding never decides a trial, not even one of an `f64` backend.
///
/// The sums are Knuth's error-free transformation, the products one fused multiply-add (Dekker 1971;
/// Joldes, Muller and Popescu 2017 for the bounds). Overflow and NaN travel through the leading part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Double {
    high: f64,
    low: f64,
}

impl Double {
    /// The `f64` nearest to this number.
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        self.high
    }

    /// The square root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        if self.high <= 0.0 || !self.high.is_finite() {
            return Self::from(self.high.sqrt());
        }
        // One Newton step from the f64 root doubles its digits.
        let root = Self::from(self.high.sqrt());
        root + (self - root * root) / (root + root)
    }

    /// a + b, with what rounding takes away.
    fn exact_sum(a: f64, b: f64) -> Self {
        let high = a + b;
        if !high.is_finite() {
            return Self { high, low: 0.0 };
        }
        let b_rounded = high - a;
        let low = (a - (high - b_rounded)) + (b - b_rounded);
        Self { high, low }
    }

    /// a · b, with what rounding takes away.
    fn exact_product(a: f64, b: f64) -> Self {
        let high = a * b;
        let low = if high.is_finite() { a.mul_add(b, -high) } else { 0.0 };
        Self { high, low }
    }
}

impl From<f64> for Double {
    fn from(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }
}

impl core::ops::Neg for Double {
    type Output = Self;
    fn neg(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }
}

impl core::ops::Add for Double {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let sum = Self::exact_sum(self.high, other.high);
        let low = Self::exact_sum(self.low, other.low);
        let sum = Self::exact_sum(sum.high, sum.low + low.high);
        Self::exact_sum(sum.high, sum.low + low.low)
    }
}

impl core::ops::Sub for Double {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl core::ops::Mul for Double {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = Self::exact_product(self.high, other.high);
        let low = self.high * other.low + self.low * other.high;
        if !low.is_finite() {
            return product;
        }
        Self::exact_sum(product.high, product.low + low)
    }
}

impl core::ops::Div for Double {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let first = self.high / other.high;
        if !first.is_finite() || first == 0.0 {
            return Self::from(first);
        }
        let rest = self - other * Self::from(first);
        let second = rest.high / other.high;
        let rest = rest - other * Self::from(second);
        Self::exact_sum(first, second) + Self::from(rest.high / other.high)
    }
}

impl core::ops::AddAssign for Double {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl core::iter::Sum for Double {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::default(), |sum, value| sum + value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_an_f64_loses() {
        let terms = [1e16, 1.0, -1e16, 1e-16].map(Double::from);
        assert_eq!(terms.into_iter().sum::<Double>().to_f64(), 1.0 + 1e-16);
        assert_ne!((terms[0] + terms[1] + terms[2]).to_f64(), 1e16 + 1.0 - 1e16);
    }

    #[test]
    fn quotients_and_roots_are_good_to_thirty_digits() {
        let third = Double::from(1.0) / Double::from(3.0);
        assert!((third * Double::from(3.0) - Double::from(1.0)).to_f64().abs() < 1e-31);
        for value in [2.0, 1e-200, 7e250] {
            let (value, root) = (Double::from(value), Double::from(value).sqrt());
            let error = (root * root - value).to_f64();
            assert!(error.abs() <= 1e-30 * value.to_f64(), "{value:?}: {error}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let infinity = Double::from(f64::INFINITY);
        assert_eq!((infinity + Double::from(1.0)).to_f64(), f64::INFINITY);
        assert!((infinity - infinity).to_f64().is_nan());
        assert!(Double::from(-1.0).sqrt().to_f64().is_nan());
        assert_eq!((Double::from(1.0) / Double::from(0.0)).to_f64(), f64::INFINITY);
    }
}
