//! A workload whose operands are files: what runners are given, and what they are judged by.

use std::path::Path;

use anyhow::Result;
use bn_core::{ForwardTraining, HostBackend, InOut, Problem, Request, SavedStatistics};

use super::Workload;
use crate::{Operation, npy};

impl Workload<f32> {
    /// Reads the operands of training, inference or backward.
    ///
    /// What backward needs of the forward comes from this backend, as it does for every peer.
    pub(crate) fn read(
        operation: Operation,
        problem: Problem,
        folder: &Path,
        backend: &HostBackend<f32>,
    ) -> Result<Self> {
        let mut workload = Self::new(operation, problem);
        let Self { input, second_input, output, channels, .. } = &mut workload;
        let fill = |to: &mut [f32], name: &str| -> Result<()> {
            let values = npy::read(folder, name)?;
            anyhow::ensure!(to.len() == values.len(), "{name} has {} values", values.len());
            to.copy_from_slice(&values);
            Ok(())
        };
        fill(&mut channels.gamma, "gamma")?;
        fill(&mut channels.beta, "beta")?;
        fill(&mut channels.running_mean, "running_mean")?;
        fill(&mut channels.running_var, "running_var")?;
        if operation == Operation::Backward {
            fill(input, "dy")?;
            fill(second_input, "x")?;
            let (mean, inv_std) = (&mut channels.mean[..], &mut channels.inv_std[..]);
            let io = InOut::new(&**second_input, &mut **output);
            let saved = SavedStatistics { mean, inv_std };
            backend.forward_training(ForwardTraining::new(problem, io, saved).check()?)?;
        } else {
            fill(input, "x")?;
        }
        Ok(workload)
    }

    /// Writes what the operation wrote last.
    pub(crate) fn write(&self, shape: &[usize], folder: &Path) -> Result<()> {
        if self.operation != Operation::Backward {
            return npy::write(folder, "y", shape, &self.output);
        }
        npy::write(folder, "dx", shape, &self.output)?;
        let [dgamma, dbeta] = &self.channels.gradients;
        npy::write(folder, "dgamma", &[dgamma.len()], dgamma)?;
        npy::write(folder, "dbeta", &[dbeta.len()], dbeta)
    }
}
