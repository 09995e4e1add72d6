//! Batch normalisation as the derivation writes it: plain loops, in `f64`, to be read beside the paper.
//!
//! [`NaiveBackend`] implements the four required operations of
//! [`BatchNormBackend`] and nothing else; training, inference and backward
//! are the trait's own compositions of them. So this crate is two things: the oracle that a reader can
//! check by eye, and the proof that the contract is small. It supports every feature of the contract
//! and every layout by looking at the tensor as a strided `(N, C, S)` view. It is not fast.
//!
//! ```
//! use bn_core::{BatchNormBackend, ForwardTraining, InOut, Layout, Problem, Request, SavedStatistics};
//! use bn_naive::NaiveBackend;
//!
//! let problem = Problem::new(&[4, 1], Layout::ChannelsFirst)?;
//! let x = [1.0f32, 2.0, 3.0, 4.0];
//! let (mut y, mut mean, mut inv_std) = ([0.0; 4], [0.0], [0.0]);
//! let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
//! let io = InOut::new(&x[..], &mut y[..]);
//! NaiveBackend.forward_training(ForwardTraining::new(problem, io, saved).check()?)?;
//! assert_eq!(mean, [2.5]);
//! assert_eq!(y, [-1.3416355, -0.4472118, 0.4472118, 1.3416355]);
//! # Ok::<(), bn_core::Error>(())
//! ```
#![forbid(unsafe_code)]

mod backward;
mod forward;
mod view;

use bn_core::{
    Backend, BackwardApply, BackwardReduce, BatchNormBackend, Checked, Device, Element, Error,
    HostMemory, Moments, Normalize,
};

/// The readable backend: sequential, `f64` inside, on slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct NaiveBackend;

impl Backend for NaiveBackend {
    type Memory = HostMemory;

    fn name(&self) -> &'static str {
        "naive"
    }

    fn device(&self) -> Device {
        Device { label: "CPU, 1 thread".into(), instruction_set: "scalar f64".into() }
    }

    fn memory(&self) -> &HostMemory {
        &HostMemory
    }
}

impl<T: Element> BatchNormBackend<T> for NaiveBackend {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), Error> {
        forward::moments(request.into_inner());
        Ok(())
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), Error> {
        forward::normalize(request.into_inner());
        Ok(())
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        backward::reduce(request.into_inner());
        Ok(())
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        backward::apply(request.into_inner());
        Ok(())
    }
}
