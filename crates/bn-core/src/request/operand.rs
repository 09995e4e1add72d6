//! Operands that more than one request has.

use super::{length, per_statistic};
use crate::{Error, Feature, Memory, Problem, Scalar};

/// A tensor that is read and one that is written: two buffers, or one in place.
pub enum InOut<'a, B: ?Sized> {
    /// The input stays as it is.
    Separate {
        /// What is read.
        input: &'a B,
        /// What is written.
        output: &'a mut B,
    },
    /// The output overwrites the input. After training in place x is gone: backward is then possible
    /// where y is x̂, see [`SavedTensor::Normalized`], or where the caller has kept x elsewhere.
    InPlace(&'a mut B),
}

impl<'a, B: ?Sized> InOut<'a, B> {
    /// Two buffers.
    pub fn new(input: &'a B, output: &'a mut B) -> Self {
        Self::Separate { input, output }
    }

    /// The input, for an operation that reads it before the output is written.
    #[must_use]
    pub fn input(&self) -> &B {
        match self {
            Self::Separate { input, .. } => input,
            Self::InPlace(buffer) => buffer,
        }
    }

    /// Whether both are one buffer.
    #[must_use]
    pub const fn is_in_place(&self) -> bool {
        matches!(self, Self::InPlace(_))
    }

    /// The same for a shorter time, so that it can be used again afterwards.
    pub fn reborrow(&mut self) -> InOut<'_, B> {
        match self {
            Self::Separate { input, output } => InOut::Separate { input, output },
            Self::InPlace(buffer) => InOut::InPlace(buffer),
        }
    }

    pub(super) fn needs(&self) -> Option<Feature> {
        self.is_in_place().then_some(Feature::InPlace)
    }

    pub(super) fn check<E: Scalar, M: Memory<Buffer<E> = B>>(
        &self,
        problem: &Problem,
        [input_name, output_name]: [&'static str; 2],
    ) -> Result<(), Error> {
        let (expected, extent) = (problem.elements(), "N·C·S, one per element");
        length(input_name, M::len::<E>(self.input()), expected, extent)?;
        match self {
            Self::Separate { output, .. } => {
                length(output_name, M::len::<E>(output), expected, extent)
            }
            Self::InPlace(_) => Ok(()),
        }
    }
}

/// What forward has left for backward to find x̂ from.
///
/// After an out-of-place forward that is x. Training in place destroys x; its backward is possible
/// where y is x̂ itself, that is without gamma, beta and epilogue, as in Caffe's BatchNorm layer, whose
/// gamma and beta belong to the Scale layer behind it.
pub enum SavedTensor<'a, B: ?Sized> {
    /// x, the input of forward: x̂ = (x − mean)·inv_std.
    Input(&'a B),
    /// x̂ itself.
    Normalized(&'a B),
}

impl<'a, B: ?Sized> SavedTensor<'a, B> {
    /// The buffer, whichever it is.
    #[must_use]
    pub const fn buffer(&self) -> &'a B {
        match self {
            Self::Input(buffer) | Self::Normalized(buffer) => buffer,
        }
    }

    /// The (mean, inv_std) with which the buffer's values become x̂: those given, or (0, 1) where they
    /// are x̂ already.
    #[must_use]
    pub const fn normalizer(&self, mean: f64, inv_std: f64) -> (f64, f64) {
        match self {
            Self::Input(_) => (mean, inv_std),
            Self::Normalized(_) => (0.0, 1.0),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "x",
            Self::Normalized(_) => "x̂",
        }
    }

    pub(super) const fn needs(&self) -> Option<Feature> {
        match self {
            Self::Input(_) => None,
            Self::Normalized(_) => Some(Feature::Normalized),
        }
    }
}

impl<B: ?Sized> Clone for SavedTensor<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ?Sized> Copy for SavedTensor<'_, B> {}

/// Where forward leaves the statistics that backward needs, G·C values each.
pub struct SavedStatistics<'a, M: Memory> {
    /// The mean that normalised.
    pub mean: &'a mut M::Buffer<f64>,
    /// 1/sqrt(variance + eps).
    pub inv_std: &'a mut M::Buffer<f64>,
}

impl<M: Memory> SavedStatistics<'_, M> {
    pub(super) fn check(&self, problem: &Problem) -> Result<(), Error> {
        per_statistic::<M>("save_mean", problem, self.mean)?;
        per_statistic::<M>("save_inv_std", problem, self.inv_std)
    }
}
