//! Requests: what an operation is asked to do, and the proof that it was checked.
//!
//! A request is a struct with public fields. [`Request::check`] turns it into a [`Checked`] one,
//! which only this crate can make; backends take checked requests and need no second look.

use core::fmt;
use core::ops::Deref;

use crate::{
    Backend, Counts, Element, Epilogue, Error, Feature, Gate, Memory, Problem, ValidPositions,
};

mod fused;
mod operand;
mod required;

pub use fused::{Backward, FixedStatistics, ForwardInference, ForwardTraining, RunningMut};
pub use operand::{InOut, SavedStatistics, SavedTensor};
pub use required::{BackwardApply, BackwardReduce, Correction, Moments, Normalize};

/// Something that an operation can be asked to do.
pub trait Request: Sized {
    /// Checks every length and every number against the problem, and writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and the others that the request's own documentation names.
    fn check(self) -> Result<Checked<Self>, Error>;

    /// The features that this request asks of a backend, for [`Capabilities::admit`](crate::Capabilities::admit).
    fn needs(&self) -> impl Iterator<Item = Feature>;
}

/// A request that has been checked: every buffer has the length that its problem asks for, every
/// number is in its range.
///
/// Its fields can be read but not changed. A backend takes it apart with [`Checked::into_inner`]; no
/// one else can make one, so unsafe code may rely on what it says.
pub struct Checked<R>(R);

impl<R> Checked<R> {
    /// The request itself, no longer known to be checked.
    pub fn into_inner(self) -> R {
        self.0
    }
}

impl<R: Request> Checked<R> {
    /// The request itself, if the backend supports all that it needs: how an operation begins.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn admit<B: Backend + ?Sized>(self, backend: &B) -> Result<R, Error> {
        backend.capabilities().admit(backend.name(), self.needs())?;
        Ok(self.0)
    }
}

impl<R> fmt::Debug for Checked<R> {
    /// The request's type; its buffers may be large, or on a device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked<{}>", core::any::type_name::<R>())
    }
}

impl<R> Deref for Checked<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

/// Compares a buffer's length with what the problem asks for.
pub(crate) fn length(
    operand: &'static str,
    found: usize,
    expected: usize,
    extent: &'static str,
) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { operand, found, expected, extent }) }
}

fn tensor<T: Element, M: Memory>(
    operand: &'static str,
    problem: &Problem,
    buffer: &M::Buffer<T>,
) -> Result<(), Error> {
    length(operand, M::len(buffer), problem.elements(), "N·C·S, one per element")
}

fn per_channel<E: Element, M: Memory>(
    operand: &'static str,
    problem: &Problem,
    buffer: &M::Buffer<E>,
) -> Result<(), Error> {
    length(operand, M::len(buffer), problem.channels(), "C, one per channel")
}

fn per_statistic<M: Memory>(
    operand: &'static str,
    problem: &Problem,
    buffer: &M::Buffer<f64>,
) -> Result<(), Error> {
    length(operand, M::len(buffer), problem.statistics(), "G·C, one per group and channel")
}

fn affine<T: Element, M: Memory>(
    problem: &Problem,
    gamma: Option<&M::Buffer<T::Param>>,
    beta: Option<&M::Buffer<T::Param>>,
) -> Result<(), Error> {
    gamma.map_or(Ok(()), |gamma| per_channel::<_, M>("gamma", problem, gamma))?;
    beta.map_or(Ok(()), |beta| per_channel::<_, M>("beta", problem, beta))
}

fn activation_bits<M: Memory>(problem: &Problem, bits: &M::Buffer<u8>) -> Result<(), Error> {
    length("bits", M::len(bits), problem.bits_len(), "rows of one bit per element, in whole bytes")
}

fn epilogue<T: Element, M: Memory>(
    problem: &Problem,
    epilogue: &Epilogue<'_, T, M>,
) -> Result<(), Error> {
    let bits = match epilogue {
        Epilogue::None => return Ok(()),
        Epilogue::Relu { bits } => bits,
        Epilogue::AddRelu { residual, bits } => {
            tensor::<T, M>("residual", problem, residual)?;
            bits
        }
    };
    bits.as_ref().map_or(Ok(()), |bits| activation_bits::<M>(problem, bits))
}

fn gate<T: Element, M: Memory>(problem: &Problem, gate: &Gate<'_, T, M>) -> Result<(), Error> {
    match gate {
        Gate::Open => Ok(()),
        Gate::Output(y) => tensor::<T, M>("y", problem, y),
        Gate::Bits(bits) => activation_bits::<M>(problem, bits),
    }
}

fn mask<M: Memory>(problem: &Problem, valid: Option<&ValidPositions<'_, M>>) -> Result<(), Error> {
    valid.map_or(Ok(()), |valid| valid.fits(problem))
}

/// How many values the statistics of each group are taken over.
fn counts<M: Memory>(problem: &Problem, valid: Option<&ValidPositions<'_, M>>) -> Counts {
    valid.map_or_else(|| Counts::from(problem), |valid| valid.counts().clone())
}

fn eps(found: f64) -> Result<(), Error> {
    if found.is_finite() && found > 0.0 { Ok(()) } else { Err(Error::Eps { found }) }
}

/// The features that layout, groups and mask ask for, which every request has.
fn common_needs(problem: &Problem, masked: bool) -> impl Iterator<Item = Feature> + use<> {
    // With one position the layouts are the same memory, which no backend can lack.
    let layout = (problem.spatial() > 1).then(|| problem.layout().into());
    let groups = (problem.groups() > 1).then_some(Feature::Groups);
    [layout, groups, masked.then_some(Feature::Mask)].into_iter().flatten()
}
