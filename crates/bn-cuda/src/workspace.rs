//! The workspace of an operation: partial results of a reduction. Kept and used again.

use std::sync::{Mutex, PoisonError};

use bn_core::Error;

use crate::machine::Machine;
use crate::memory::{Buffer, DeviceMemory};

/// Workspaces that no operation holds at the moment.
///
/// An operation puts its workspace back once its kernels are queued, not once they have run: whoever takes
/// it next queues behind them.
pub(crate) struct Workspaces<M: Machine>(Mutex<Vec<Buffer<f64, M>>>);

impl<M: Machine> Default for Workspaces<M> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<M: Machine> Workspaces<M> {
    /// Calls `work` with a workspace of at least `doubles` values.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] before `work` is called; what `work` returns.
    pub(crate) fn with<R>(
        &self,
        memory: &DeviceMemory<M>,
        doubles: usize,
        work: impl FnOnce(&mut Buffer<f64, M>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let kept = self.lock().pop();
        let mut workspace = match kept {
            Some(workspace) if workspace.len() >= doubles => workspace,
            // Freed before the larger one is taken.
            smaller => {
                drop(smaller);
                memory.uninitialized(doubles)?
            }
        };
        let result = work(&mut workspace);
        self.lock().push(workspace);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Buffer<f64, M>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
