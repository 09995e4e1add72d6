//! The operands of a case: made once, written for the runners, kept for the reference.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bn_core::{Layout, Problem};

use crate::workload::noise;
use crate::{Operation, npy};

/// What every runner reads.
pub(super) struct Inputs {
    pub(super) operation: Operation,
    pub(super) problem: Problem,
    pub(super) dims: Vec<usize>,
    pub(super) folder: PathBuf,
    pub(super) x: Vec<f32>,
    /// Empty unless the operation is backward.
    pub(super) dy: Vec<f32>,
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) running_mean: Vec<f32>,
    pub(super) running_var: Vec<f32>,
}

impl Inputs {
    /// Values without a pattern, ±2 around `mean`, and parameters that differ from channel to
    /// channel: who mixes channels up is found out.
    pub(super) fn write(
        operation: Operation,
        dims: &[usize],
        layout: Layout,
        mean: f64,
        folder: &Path,
    ) -> Result<Self> {
        let problem = Problem::new(dims, layout)?;
        let (elements, channels) = (problem.elements(), problem.channels());
        let is_backward = operation == Operation::Backward;
        let tensor = |len, seed, mean: f64| -> Vec<f32> {
            (0..len).map(|index| (noise::<f64>(index, seed) + mean) as f32).collect()
        };
        let vector = |value: f64, step: f64| -> Vec<f32> {
            (0..channels).map(|channel| (value + step * (channel % 16) as f64) as f32).collect()
        };
        let inputs = Self {
            operation,
            problem,
            dims: dims.to_vec(),
            folder: folder.to_owned(),
            x: tensor(elements, 1, mean),
            dy: tensor(if is_backward { elements } else { 0 }, 2, 0.0),
            gamma: vector(1.25, -0.05),
            beta: vector(-0.5, 0.0625),
            running_mean: vector(mean - 0.25, 0.03125),
            running_var: vector(1.0, 0.03125),
        };
        inputs.write_files()?;
        Ok(inputs)
    }

    fn write_files(&self) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let channels = [self.problem.channels()];
        npy::write(&self.folder, "x", &self.dims, &self.x)?;
        if !self.dy.is_empty() {
            npy::write(&self.folder, "dy", &self.dims, &self.dy)?;
        }
        npy::write(&self.folder, "gamma", &channels, &self.gamma)?;
        npy::write(&self.folder, "beta", &channels, &self.beta)?;
        npy::write(&self.folder, "running_mean", &channels, &self.running_mean)?;
        npy::write(&self.folder, "running_var", &channels, &self.running_var)
    }
}
