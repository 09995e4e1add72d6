//! Element types: what a tensor, a parameter and a statistic are made of.

use core::fmt::{self, Debug, Display};

use half::{bf16, f16};

/// The type of one value in a buffer, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// Bytes: masks of valid positions and packed activation bits.
    U8,
}

impl DType {
    /// The four element types that a tensor can have.
    pub const ELEMENTS: [Self; 4] = [Self::F32, Self::F64, Self::F16, Self::BF16];

    /// The usual short name: `f32`, `f64`, `f16`, `bf16` or `u8`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::U8 => "u8",
        }
    }

    /// The size of one value in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::BF16 => 2,
            Self::U8 => 1,
        }
    }
}

impl Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value that a [`Memory`](crate::Memory) can hold: the element types, and `u8`.
///
/// Plain old data, so that a device backend can copy buffers as bytes. Sealed: the set is part of the
/// contract, and a backend may match on [`Scalar::DTYPE`] exhaustively.
pub trait Scalar:
    bytemuck::Pod + Default + PartialEq + Debug + Send + Sync + sealed::Sealed
{
    /// This type, as data.
    const DTYPE: DType;
}

/// The element type of a tensor: `f32`, `f64`, [`f16`](struct@f16) or [`bf16`].
///
/// Parameters (gamma, beta) and running statistics have the type [`Element::Param`]; statistics of
/// a batch are always `f64`, because a mean of 1e4 does not fit an `f32` (whose spacing there is
/// 1e-3) and they are only one value per channel.
pub trait Element: Scalar {
    /// The type of gamma, beta and the running statistics: `f64` for `f64`, `f32` for all others.
    type Param: Element<Param = Self::Param>;

    /// This value as `f64`, exactly.
    fn to_f64(self) -> f64;

    /// The element nearest to `value`.
    ///
    /// The 16-bit types are rounded by way of `f32`. That is how every backend's kernels arrive at
    /// them, and unlike a direct conversion it is the same on machines with and without conversion
    /// instructions.
    fn from_f64(value: f64) -> Self;
}

macro_rules! scalar {
    ($type:ty, $dtype:ident) => {
        impl sealed::Sealed for $type {}
        impl Scalar for $type {
            const DTYPE: DType = DType::$dtype;
        }
    };
}

scalar!(f32, F32);
scalar!(f64, F64);
scalar!(f16, F16);
scalar!(bf16, BF16);
scalar!(u8, U8);

impl Element for f32 {
    type Param = Self;
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Element for f64 {
    type Param = Self;
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(value: f64) -> Self {
        value
    }
}

impl Element for f16 {
    type Param = f32;
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }
    fn from_f64(value: f64) -> Self {
        Self::from_f32(value as f32)
    }
}

impl Element for bf16 {
    type Param = f32;
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }
    fn from_f64(value: f64) -> Self {
        Self::from_f32(value as f32)
    }
}

mod sealed {
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives_the_round_trip<T: Element>(values: &[f64]) {
        for &value in values {
            let once = T::from_f64(value);
            assert_eq!(T::from_f64(once.to_f64()), once, "{value} as {}", T::DTYPE);
        }
        assert_eq!(size_of::<T>(), T::DTYPE.size());
    }

    #[test]
    fn conversions_are_stable() {
        let values = [0.0, -0.0, 1.0, -1.5, 1e-8, 3.0e4, 1e30, f64::INFINITY];
        survives_the_round_trip::<f32>(&values);
        survives_the_round_trip::<f64>(&values);
        survives_the_round_trip::<f16>(&values);
        survives_the_round_trip::<bf16>(&values);
        assert!(f16::from_f64(f64::NAN).is_nan() && bf16::from_f64(f64::NAN).is_nan());
    }

    #[test]
    fn half_types_round_by_way_of_f32() {
        // Just above the tie between 1 and the next f16: f32 rounds it onto the tie, which goes to even.
        let above_tie = 1.0 + 2f64.powi(-11) + 2f64.powi(-30);
        assert_eq!(f16::from_f64(above_tie), f16::ONE);
    }
}
