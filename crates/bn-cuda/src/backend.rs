//! The backend: capabilities, and requests handed to the operations.

use core::fmt;
use std::sync::Arc;

use bn_core::{
    Backend, Backward, BackwardApply, BackwardReduce, BatchNormBackend, Checked, Device, Element,
    Error, ForwardInference, ForwardTraining, Moments, Normalize,
};

use crate::driver::Driver;
use crate::launch::Launcher;
use crate::machine::Machine;
use crate::memory::{DeviceMemory, ValuesMut};
use crate::workspace::Workspaces;

/// The name of the backend.
pub(crate) const NAME: &str = "cuda";

/// Batch normalisation on a GPU.
///
/// Operations queue their kernels and return; none waits for the device. Cloning is cheap; clones share the
/// queue and the workspace.
pub struct CudaBackend<M: Machine = Driver> {
    memory: DeviceMemory<M>,
    workspaces: Arc<Workspaces<M>>,
    has_clusters: bool,
}

impl<M: Machine> CudaBackend<M> {
    /// The backend on a machine.
    #[must_use]
    pub fn on(machine: M) -> Self {
        let has_clusters = machine.has_clusters();
        let memory = DeviceMemory::new(Arc::new(machine));
        Self { memory, workspaces: Arc::default(), has_clusters }
    }

    /// The same machine, with buffers that begin `values` values behind an aligned address: for tests of
    /// what kernels do there.
    #[must_use]
    pub fn unaligned(&self, values: usize) -> Self {
        let memory = self.memory.with_offset(values);
        Self { memory, workspaces: Arc::default(), ..*self }
    }

    /// The same machine, used as one whose blocks do not run in clusters: results have the same bits.
    #[must_use]
    pub fn without_clusters(&self) -> Self {
        Self { has_clusters: false, ..self.clone() }
    }

    /// The same machine and its compiled kernels, with a workspace of its own.
    ///
    /// Clones share a workspace because their work is queued in one order. Where the stream is the driver's
    /// per-thread one that holds within a thread alone, so each thread needs a backend made by this.
    #[must_use]
    pub fn with_own_workspace(&self) -> Self {
        Self { memory: self.memory.clone(), workspaces: Arc::default(), ..*self }
    }

    pub(crate) fn driver(&self) -> &M {
        self.memory.machine()
    }

    pub(crate) fn launcher(&self) -> Launcher<'_, M> {
        Launcher { machine: self.memory.machine(), has_clusters: self.has_clusters }
    }

    /// Calls `work` with `doubles` values of a workspace.
    pub(crate) fn with_workspace(
        &self,
        doubles: usize,
        work: impl FnOnce(ValuesMut<'_, f64>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.workspaces.with(&self.memory, doubles, |workspace| {
            work(workspace.values_mut().split_at(doubles).0)
        })
    }
}

impl<M: Machine> Clone for CudaBackend<M> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), workspaces: Arc::clone(&self.workspaces), ..*self }
    }
}

impl<M: Machine> fmt::Debug for CudaBackend<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaBackend").field("device", &self.device()).finish_non_exhaustive()
    }
}

impl<M: Machine> Backend for CudaBackend<M> {
    type Memory = DeviceMemory<M>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self) -> Device {
        self.memory.machine().device()
    }

    fn memory(&self) -> &DeviceMemory<M> {
        &self.memory
    }
}

impl<T: Element, M: Machine> BatchNormBackend<T> for CudaBackend<M> {
    fn moments(&self, request: Checked<Moments<'_, T, Self::Memory>>) -> Result<(), Error> {
        self.take_moments(request.admit(self)?)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, Self::Memory>>) -> Result<(), Error> {
        self.write_output(request.admit(self)?)
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        self.take_sums(request.admit(self)?)
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        self.write_gradient(request.admit(self)?)
    }

    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        self.train(request.admit(self)?)
    }

    fn forward_inference(
        &self,
        request: Checked<ForwardInference<'_, T, Self::Memory>>,
    ) -> Result<(), Error> {
        self.infer(request.admit(self)?)
    }

    fn backward(&self, request: Checked<Backward<'_, T, Self::Memory>>) -> Result<(), Error> {
        self.differentiate(request.admit(self)?)
    }
}
