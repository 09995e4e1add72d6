//! The two precisions of Caffe's nets.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use bn_core::Element;

use crate::blob::{Blob, Shape};
use crate::error::BlobProblem;

/// `f32` or `f64`: Caffe's `Dtype`.
pub trait Real:
    Element<Param = Self>
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// 1.
    const ONE: Self;

    /// 256 bits hold so many of this type.
    const LANES: usize;

    /// The square root.
    #[must_use]
    fn root(self) -> Self;

    /// self·factor + term, rounded once.
    #[must_use]
    fn fused(self, factor: Self, term: Self) -> Self;

    /// The values of a blob; doubles are rounded in a float net.
    fn values(blob: &Blob) -> Vec<Self>;

    /// A blob of this precision.
    ///
    /// # Errors
    /// [`BlobProblem::Count`] where the number of values is not the shape's product.
    fn blob(shape: Shape, values: &[Self]) -> Result<Blob, BlobProblem>;

    /// Whether both are the same bits; any two NaN count as the same.
    fn same(self, other: Self) -> bool;
}

macro_rules! real {
    ($type:ty, $lanes:literal, $values:ident, $blob:ident) => {
        impl Real for $type {
            const ONE: Self = 1.0;
            const LANES: usize = $lanes;

            fn root(self) -> Self {
                self.sqrt()
            }
            fn fused(self, factor: Self, term: Self) -> Self {
                self.mul_add(factor, term)
            }
            fn values(blob: &Blob) -> Vec<Self> {
                blob.$values()
            }
            fn blob(shape: Shape, values: &[Self]) -> Result<Blob, BlobProblem> {
                Blob::$blob(shape, values)
            }
            fn same(self, other: Self) -> bool {
                self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
            }
        }
    };
}
real!(f32, 8, to_f32, from_f32);
real!(f64, 4, to_f64, from_f64);
