//! What is right, from the conformance suite's reference, and how far a runner is from it.

use std::path::Path;

use anyhow::{Result, ensure};
use bn_conformance::reference::{Backward, Double, Moments, Normalizer};
use bn_core::{Dependence, Layout, Problem};

use super::inputs::Inputs;
use crate::{Operation, npy};

/// The channels that are compared: the reference is no fast program, and what is wrong in a layout, a
/// tail or a share of a thread shows in these.
const MOST_CHANNELS: usize = 16;

/// The values in these channels, where more than two would be more.
const MOST_VALUES: usize = 1 << 23;

/// Added to the variance inside the root, for everyone.
pub(super) const EPS: f64 = 1e-5;

/// The right outputs of some channels.
pub(super) struct Expected {
    problem: Problem,
    picked: Vec<usize>,
    /// Files of the shape of x, then files of one value per channel, with the values of `picked`.
    tensors: Vec<(&'static str, Vec<f64>)>,
    vectors: Vec<(&'static str, Vec<f64>)>,
}

impl Expected {
    /// Computes them.
    pub(super) fn of(inputs: &Inputs) -> Result<Self> {
        let problem = inputs.problem;
        let channels = problem.channels();
        let affordable = MOST_VALUES / (problem.elements() / channels);
        let count = affordable.clamp(2, MOST_CHANNELS).min(channels);
        // The first, the last and others between them.
        let pick = |index: usize| index * (channels - 1) / (count - 1).max(1);
        let picked: Vec<usize> = (0..count).map(pick).collect();
        let dims = [problem.batch(), count, problem.spatial()];
        let part = Problem::new(&dims, Layout::ChannelsFirst)?;
        let of_tensor = |values: &[f32]| gather(&problem, &picked, values);
        let of_vector = |values: &[f32]| -> Vec<f64> {
            picked.iter().map(|&channel| f64::from(values[channel])).collect()
        };
        let (x, gamma) = (of_tensor(&inputs.x), of_vector(&inputs.gamma));
        let (mean, inv_std) = if inputs.operation == Operation::Inference {
            let one = Double::from(1.0);
            let root = |var: f64| one / (Double::from(var) + Double::from(EPS)).sqrt();
            let var = of_vector(&inputs.running_var);
            let mean = of_vector(&inputs.running_mean).into_iter().map(Double::from).collect();
            (mean, var.into_iter().map(root).collect())
        } else {
            let moments = Moments::of(&part, &x, None);
            let inv_std = moments.inv_std(EPS);
            (moments.mean, inv_std)
        };
        let mut expected =
            Self { problem, picked: picked.clone(), tensors: Vec::new(), vectors: Vec::new() };
        if inputs.operation == Operation::Backward {
            let backward = Backward {
                problem: &part,
                dy: &of_tensor(&inputs.dy),
                open: None,
                saved: (&x, false),
                mean: &mean.iter().map(|value| value.to_f64()).collect::<Vec<_>>(),
                inv_std: &inv_std.iter().map(|value| value.to_f64()).collect::<Vec<_>>(),
                gamma: Some(&gamma),
                dependence: Dependence::Batch,
                mask: None,
            };
            let gradients = backward.gradients();
            expected.tensors.push(("dx", gradients.dx));
            expected.vectors.push(("dgamma", gradients.dgamma));
            expected.vectors.push(("dbeta", gradients.dbeta));
        } else {
            let beta = of_vector(&inputs.beta);
            let normalizer = Normalizer {
                problem: &part,
                mean: &mean,
                inv_std: &inv_std,
                gamma: Some(&gamma),
                beta: Some(&beta),
                residual: None,
                relu: false,
            };
            expected.tensors.push(("y", normalizer.apply(&x).y));
        }
        Ok(expected)
    }

    /// The largest error of what a runner wrote, by the largest value of the same output.
    pub(super) fn error_of(&self, outputs: &Path) -> Result<f64> {
        let mut worst = 0.0_f64;
        for (name, expected) in &self.tensors {
            let found = npy::read(outputs, name)?;
            ensure!(found.len() == self.problem.elements(), "{name} has {} values", found.len());
            worst = worst.max(error(&gather(&self.problem, &self.picked, &found), expected));
        }
        for (name, expected) in &self.vectors {
            let found = npy::read(outputs, name)?;
            ensure!(found.len() == self.problem.channels(), "{name} has {} values", found.len());
            let found: Vec<f64> = self.picked.iter().map(|&c| f64::from(found[c])).collect();
            worst = worst.max(error(&found, expected));
        }
        Ok(worst)
    }
}

/// Some channels of a tensor, in channels-first order.
fn gather(problem: &Problem, picked: &[usize], values: &[f32]) -> Vec<f64> {
    let mut gathered = Vec::with_capacity(problem.batch() * picked.len() * problem.spatial());
    for n in 0..problem.batch() {
        for &c in picked {
            gathered
                .extend((0..problem.spatial()).map(|s| f64::from(values[problem.offset(n, c, s)])));
        }
    }
    gathered
}

/// The error of something that is no number. Results are JSON, which has no infinity.
const NO_NUMBER: f64 = 1e9;

/// max |found − expected| / max |expected|; [`NO_NUMBER`] where something found is none.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |worst: f64, (found, expected)| {
        let error = (found - expected).abs() / largest;
        if error.is_finite() { worst.max(error) } else { NO_NUMBER }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(operation: Operation, layout: Layout, spoil: bool) -> f64 {
        let folder = tempfile::tempdir().unwrap();
        let dims = [3, 20, 20];
        let inputs = Inputs::write(operation, &dims, layout, 10.0, folder.path()).unwrap();
        let backend = bn::open::<f32>("naive", &bn::Options::default()).unwrap();
        let problem = inputs.problem;
        let workload =
            crate::workload::Workload::read(operation, problem, folder.path(), &*backend);
        let mut workload = workload.unwrap();
        workload.run(&*backend).unwrap();
        let outputs = folder.path();
        workload.write(&dims, outputs).unwrap();
        let name = if operation == Operation::Backward { "dx" } else { "y" };
        if spoil {
            let mut values = npy::read(outputs, name).unwrap();
            values[0] += 0.5;
            npy::write(outputs, name, &dims, &values).unwrap();
        }
        Expected::of(&inputs).unwrap().error_of(outputs).unwrap()
    }

    #[test]
    fn the_readable_backend_is_right_and_a_spoilt_value_is_found() {
        for operation in [Operation::Training, Operation::Inference, Operation::Backward] {
            for layout in Layout::ALL {
                let right = judged(operation, layout, false);
                assert!(right < 1e-6, "{operation:?} {layout}: {right}");
                assert!(judged(operation, layout, true) > 0.05, "{operation:?} {layout}");
            }
        }
    }

    #[test]
    fn no_number_is_the_largest_error() {
        assert_eq!(error(&[f64::NAN, 1.0], &[1.0, 2.0]), NO_NUMBER);
        assert_eq!(error(&[1.0, 3.0], &[1.0, 2.0]), 0.5);
    }
}
