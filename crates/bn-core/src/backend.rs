//! The trait that every backend implements.

use crate::request::{
    Backward, BackwardApply, BackwardReduce, Checked, ForwardInference, ForwardTraining, Moments,
    Normalize,
};
use crate::{Capabilities, Device, Element, Error, HostMemory, Memory, compose};

/// What a backend is, whatever the element type.
pub trait Backend: Send + Sync {
    /// Where its buffers live.
    type Memory: Memory;

    /// A short, lower-case name, as command lines take it: `naive`, `rayon`, `cuda`.
    fn name(&self) -> &'static str;

    /// What it runs on, for people to read.
    fn device(&self) -> Device;

    /// Its memory.
    fn memory(&self) -> &Self::Memory;

    /// What it supports. What it refuses it refuses before it writes anything.
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }
}

/// Batch normalisation of `T` tensors.
///
/// Four operations are required; the three fused ones follow from them and are overridden where one
/// pass in cache beats two. Synchronised, streaming, chunked and frozen statistics need no method of
/// their own: they are other compositions of the same four.
///
/// Each operation takes a [`Checked`] request, so lengths and ranges need no second look. A backend
/// whose [`Capabilities`] lack something calls [`Capabilities::admit`] first. Results are the same bits
/// on every run: the shape of every reduction follows from the problem alone.
///
/// The trait is dyn-compatible: [`HostBackend`] is the form for choice at run time.
pub trait BatchNormBackend<T: Element>: Backend {
    /// Takes mean and M2 of each group and channel.
    ///
    /// A constant channel has exactly that mean and M2 = 0. Positions that a mask leaves out do not
    /// enter the sums, so a NaN there does the statistics no harm.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn moments(&self, request: Checked<Moments<'_, T, Self::Memory>>) -> Result<(), Error>;

    /// Writes y = epilogue((x − mean)·inv_std·gamma + beta), in this order: never as x·alpha + shift,
    /// which cancels where the mean is large.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn normalize(&self, request: Checked<Normalize<'_, T, Self::Memory>>) -> Result<(), Error>;

    /// Sums dy and dy·x̂ of each group and channel.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, Self::Memory>>,
    ) -> Result<(), Error>;

    /// Writes dx from dy and the sums.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, Self::Memory>>,
    ) -> Result<(), Error>;

    /// Moments, then normalize, then the running update.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        compose::forward_training(self, request)
    }

    /// Normalize with running or given statistics.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn forward_inference(
        &self,
        request: Checked<ForwardInference<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        compose::forward_inference(self, request)
    }

    /// Backward-reduce, then backward-apply, then dgamma and dbeta from the sums.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], [`Error::OutOfMemory`], [`Error::Device`].
    fn backward(&self, request: Checked<Backward<'_, T, Self::Memory>>) -> Result<(), Error> {
        compose::backward(self, request)
    }
}

/// A backend chosen at run time, on slices. CPU backends are one as they are; a device backend becomes
/// one inside [`Staged`](crate::Staged).
pub type HostBackend<T> = dyn BatchNormBackend<T, Memory = HostMemory>;
