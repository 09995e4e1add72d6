//! The ways into the kernels, one for each element type: compiled here, once, and not again in every
//! crate that calls the backend, where a generic function would be.

use bn_core::{Error, Problem, bf16, f16};

use crate::backward::{GradientSums, MakeGradient, Normalizer, backward};
use crate::channels_first::Given;
use crate::engine::Engine;
use crate::forward::{Apply, TakeMoments, forward};
use crate::simd::Access;

/// An element type whose kernels are compiled in this crate.
pub(crate) trait Compiled: Access<Stored = Self> + Sized {
    /// As [`forward`].
    fn forward(
        engine: &Engine,
        problem: Problem,
        moments: Option<&TakeMoments<'_, Self>>,
        apply: Option<&Apply<'_, Self>>,
    ) -> Result<(), Error>;

    /// As [`backward`].
    fn backward(
        engine: &Engine,
        problem: Problem,
        given: Given<Self>,
        normalizer: Option<Normalizer<'_>>,
        reduce: Option<GradientSums>,
        make: Option<&MakeGradient<'_, Self>>,
    ) -> Result<(), Error>;
}

macro_rules! compiled {
    ($($type:ty),*) => {$(
        impl Compiled for $type {
            #[inline(never)]
            fn forward(
                engine: &Engine,
                problem: Problem,
                moments: Option<&TakeMoments<'_, Self>>,
                apply: Option<&Apply<'_, Self>>,
            ) -> Result<(), Error> {
                forward::<Self>(engine, problem, moments, apply)
            }

            #[inline(never)]
            fn backward(
                engine: &Engine,
                problem: Problem,
                given: Given<Self>,
                normalizer: Option<Normalizer<'_>>,
                reduce: Option<GradientSums>,
                make: Option<&MakeGradient<'_, Self>>,
            ) -> Result<(), Error> {
                backward::<Self>(engine, problem, given, normalizer, reduce, make)
            }
        }
    )*};
}

compiled!(f32, f64, f16, bf16);
