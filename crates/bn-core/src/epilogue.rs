//! What is fused behind the normalisation, and what its backward reads.

use crate::{Element, Feature, Memory};

/// What forward does to γ·x̂ + β before it writes y.
///
/// relu(z) is z where z > 0 or z is NaN, and +0 elsewhere: a NaN stays visible.
pub enum Epilogue<'a, T: Element, M: Memory> {
    /// y = γ·x̂ + β.
    None,
    /// y = relu(γ·x̂ + β).
    Relu {
        /// Where to record which elements passed, [`Problem::bits_len`](crate::Problem::bits_len) bytes.
        bits: Option<&'a mut M::Buffer<u8>>,
    },
    /// y = relu(γ·x̂ + β + residual): the end of a residual block.
    AddRelu {
        /// The other branch, shaped like x.
        residual: &'a M::Buffer<T>,
        /// Where to record which elements passed, [`Problem::bits_len`](crate::Problem::bits_len) bytes.
        bits: Option<&'a mut M::Buffer<u8>>,
    },
}

impl<'a, T: Element, M: Memory> Epilogue<'a, T, M> {
    /// The same for a shorter time, so that it can be used again afterwards.
    pub fn reborrow<'b>(&'b mut self) -> Epilogue<'b, T, M>
    where
        'a: 'b,
    {
        match self {
            Self::None => Epilogue::None,
            Self::Relu { bits } => Epilogue::Relu { bits: bits.as_deref_mut() },
            Self::AddRelu { residual, bits } => {
                Epilogue::AddRelu { residual: &**residual, bits: bits.as_deref_mut() }
            }
        }
    }

    /// The features that this epilogue asks of a backend.
    pub fn needs(&self) -> impl Iterator<Item = Feature> + use<T, M> {
        let (relu, add, bits) = match self {
            Self::None => (false, false, false),
            Self::Relu { bits } => (true, false, bits.is_some()),
            Self::AddRelu { bits, .. } => (false, true, bits.is_some()),
        };
        [
            relu.then_some(Feature::Relu),
            add.then_some(Feature::AddRelu),
            bits.then_some(Feature::ActivationBits),
        ]
        .into_iter()
        .flatten()
    }
}

/// What tells backward which elements a fused ReLU let through: the gradient of the others is 0.
pub enum Gate<'a, T: Element, M: Memory> {
    /// There was no ReLU: everything passes.
    Open,
    /// From forward's y: an element passed unless y ≤ 0.
    Output(&'a M::Buffer<T>),
    /// From the bits that forward wrote: where rows are long, a thirty-second of the bytes of an `f32` y.
    Bits(&'a M::Buffer<u8>),
}

impl<T: Element, M: Memory> Clone for Gate<'_, T, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element, M: Memory> Copy for Gate<'_, T, M> {}

impl<T: Element, M: Memory> Gate<'_, T, M> {
    /// The features that this gate asks of a backend.
    pub fn needs(&self) -> impl Iterator<Item = Feature> + use<T, M> {
        match self {
            Self::Open => None,
            Self::Output(_) => Some(Feature::Relu),
            Self::Bits(_) => Some(Feature::ActivationBits),
        }
        .into_iter()
    }
}

/// Whether the ReLU lets an element of value `y` through: all but y ≤ 0, so that NaN passes.
///
/// Asked of y as it is stored, after rounding to its type, so that bits and output agree.
#[must_use]
pub fn passes<T: Element>(y: T) -> bool {
    let y = y.to_f64();
    y > 0.0 || y.is_nan()
}

/// relu(z): z where z > 0 or z is NaN, and +0 elsewhere.
#[must_use]
pub fn relu(z: f64) -> f64 {
    if z <= 0.0 { 0.0 } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu_and_its_gate_agree_everywhere() {
        for z in [-1.0, -0.0, 0.0, 5e-324, 2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(passes(relu(z)), z > 0.0 || z.is_nan(), "{z}");
        }
        assert!(relu(-0.0).is_sign_positive());
        assert!(!passes(f32::from_f64(1e-60)), "what rounds to zero does not pass");
    }
}
