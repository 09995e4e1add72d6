//! Expected outputs of backward.

use bn_core::{DType, Dependence};

use crate::compare::Expected;
use crate::reference::{Backward, Gradients, walk};
use crate::tolerance::{E, Precision};

/// The inputs of backward, as the reference takes them, and the type that it is judged in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardInputs<'a> {
    pub inputs: Backward<'a>,
    pub dtype: DType,
}

/// Everything that the operations of backward give.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedGradients {
    pub sum_dy: Expected,
    pub sum_dy_xhat: Expected,
    pub dx: Expected,
    /// dx where the sums were given and not computed.
    pub dx_of_sums: Expected,
    pub dresidual: Expected,
    pub dgamma: Expected,
    pub dbeta: Expected,
}

impl BackwardInputs<'_> {
    pub(crate) fn expected(&self) -> ExpectedGradients {
        let gradients = self.inputs.gradients();
        let sum_dy = self.sum_slack(&gradients, &gradients.sum_dy, &gradients.norm_dy);
        let mut sum_dy_xhat =
            self.sum_slack(&gradients, &gradients.sum_dy_xhat, &gradients.norm_dy_xhat);
        for (of, slack) in sum_dy_xhat.iter_mut().enumerate() {
            let sizes = gradients.sum_dy[of].abs() + gradients.norm_dy[of];
            *slack += self.subtraction(of) * sizes;
        }
        let none = vec![0.0; sum_dy.len()];
        let dx = self.dx_slack(&gradients, &sum_dy, &sum_dy_xhat);
        let dx_of_sums = self.dx_slack(&gradients, &none, &none);
        let channels = self.inputs.problem.channels();
        let over_groups = |slack: &[f64]| -> Vec<f64> {
            (0..channels).map(|c| slack.iter().skip(c).step_by(channels).sum()).collect()
        };
        ExpectedGradients {
            dgamma: Expected { slack: over_groups(&sum_dy_xhat), values: gradients.dgamma },
            dbeta: Expected { slack: over_groups(&sum_dy), values: gradients.dbeta },
            sum_dy: Expected { values: gradients.sum_dy, slack: sum_dy },
            sum_dy_xhat: Expected { values: gradients.sum_dy_xhat, slack: sum_dy_xhat },
            dx_of_sums: Expected { values: gradients.dx.clone(), slack: dx_of_sums },
            dx: Expected { values: gradients.dx, slack: dx },
            dresidual: Expected::rounded(gradients.dy),
        }
    }

    /// φ of the tolerance table.
    fn subtraction(&self, of: usize) -> f64 {
        let size = (self.inputs.mean[of] * self.inputs.inv_std[of]).abs();
        let (_, is_x_hat) = self.inputs.saved;
        if is_x_hat { 0.0 } else { size * Precision::of(self.dtype).subtraction() }
    }

    fn sum_slack(&self, gradients: &Gradients, sums: &[f64], norms: &[f64]) -> Vec<f64> {
        let u = Precision::of(self.dtype).inside;
        let parts = sums.iter().zip(norms).zip(&gradients.count);
        let slack = |((sum, norm), &count): ((&f64, &f64), &u64)| {
            let long = 2.0 * (count as f64).sqrt() * E;
            (8.0 * u + long) * norm + (4.0 * u + long) * sum.abs()
        };
        parts.map(slack).collect()
    }

    fn dx_slack(&self, gradients: &Gradients, sum_dy: &[f64], sum_dy_xhat: &[f64]) -> Vec<f64> {
        let u = Precision::of(self.dtype).inside;
        let batch = self.inputs.dependence == Dependence::Batch;
        let values = gradients.dy.iter().zip(&gradients.x_hat);
        let slack = walk(self.inputs.problem).zip(values).map(|(cell, (dy, x_hat))| {
            let of = cell.statistic;
            let gamma = self.inputs.gamma.map_or(1.0, |gamma| gamma[cell.channel]).abs();
            let scale = gamma * self.inputs.inv_std[of];
            if !batch {
                return scale * 4.0 * u * dy.abs();
            }
            let m = gradients.count[of] as f64;
            let mean_dy = gradients.sum_dy[of].abs() / m;
            let mean_dy_xhat = gradients.sum_dy_xhat[of].abs() / m;
            let steps = 4.0 * u * (dy.abs() + mean_dy + x_hat.abs() * mean_dy_xhat);
            let sums = sum_dy[of] / m + x_hat.abs() * sum_dy_xhat[of] / m;
            scale * (steps + sums + self.subtraction(of) * mean_dy_xhat)
        });
        slack.collect()
    }
}
