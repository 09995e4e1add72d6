//! The reference's backward.

use bn_core::{Dependence, Problem};

use super::{Double, walk};

/// What backward reads.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// The shape of dy and dx, with the groups that forward had.
    pub problem: &'a Problem,
    /// The gradient of y, N·C·S values.
    pub dy: &'a [f64],
    /// What a fused ReLU let through; everything where `None`.
    pub open: Option<&'a [bool]>,
    /// x, or x̂ itself where the flag is set; N·C·S values.
    pub saved: (&'a [f64], bool),
    /// The G·C means that normalised.
    pub mean: &'a [f64],
    /// The G·C values of 1/sqrt(variance + eps) that normalised.
    pub inv_std: &'a [f64],
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a [f64]>,
    /// Whether the statistics were those of the batch.
    pub dependence: Dependence,
    /// The positions they were taken over; all where `None`.
    pub mask: Option<&'a [u8]>,
}

/// What backward gives, and the norms that its rounding errors are measured by.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// dy behind the ReLU: the residual's gradient.
    pub dy: Vec<f64>,
    /// x̂.
    pub x_hat: Vec<f64>,
    /// Σdy of each group and channel.
    pub sum_dy: Vec<f64>,
    /// Σdy·x̂ of each group and channel.
    pub sum_dy_xhat: Vec<f64>,
    /// sqrt(Σdy²) of each group and channel.
    pub norm_dy: Vec<f64>,
    /// sqrt(Σ(dy·x̂)²) of each group and channel.
    pub norm_dy_xhat: Vec<f64>,
    /// How many values the statistics were taken over.
    pub count: Vec<u64>,
    /// The gradient of x.
    pub dx: Vec<f64>,
    /// The gradient of gamma, over all groups.
    pub dgamma: Vec<f64>,
    /// The gradient of beta, over all groups.
    pub dbeta: Vec<f64>,
}

impl Backward<'_> {
    /// Everything that backward gives.
    #[must_use]
    pub fn gradients(&self) -> Gradients {
        let Self { problem, dy, open, saved: (saved, is_x_hat), mask, .. } = *self;
        let (statistics, channels) = (problem.groups() * problem.channels(), problem.channels());
        let zeros = || vec![Double::default(); statistics];
        let (mut sum_dy, mut sum_dy_xhat, mut count) = (zeros(), zeros(), vec![0; statistics]);
        let (mut square_dy, mut square_dy_xhat) = (vec![0.0; statistics], vec![0.0; statistics]);

        let shut = |(index, &dy): (usize, &f64)| match open {
            Some(open) if !open[index] => 0.0,
            _ => dy,
        };
        let dy: Vec<f64> = dy.iter().enumerate().map(shut).collect();
        let is_valid = |position: usize| mask.is_none_or(|mask| mask[position] != 0);
        let mut x_hat = Vec::with_capacity(dy.len());
        for ((cell, &saved), &dy) in walk(problem).zip(saved).zip(&dy) {
            let of = cell.statistic;
            let mean = Double::from(self.mean[of]);
            let deviation = Double::from(saved) - mean;
            let hat = if is_x_hat {
                Double::from(saved)
            } else {
                deviation * Double::from(self.inv_std[of])
            };
            let product = Double::from(dy) * hat;
            sum_dy[of] += Double::from(dy);
            sum_dy_xhat[of] += product;
            square_dy[of] += dy * dy;
            square_dy_xhat[of] += product.to_f64() * product.to_f64();
            count[of] += u64::from(is_valid(cell.position));
            x_hat.push(hat);
        }

        let average = |sums: &[Double]| -> Vec<Double> {
            let pairs = sums.iter().zip(&count);
            pairs.map(|(&sum, &count)| sum / Double::from(count as f64)).collect()
        };
        let (mean_dy, mean_dy_xhat) = (average(&sum_dy), average(&sum_dy_xhat));
        let mut dx = Vec::with_capacity(dy.len());
        for ((cell, &hat), &dy) in walk(problem).zip(&x_hat).zip(&dy) {
            let of = cell.statistic;
            let gamma = self.gamma.map_or(1.0, |gamma| gamma[cell.channel]);
            let depends = self.dependence == Dependence::Batch && is_valid(cell.position);
            let own = Double::from(dy);
            let rest = if depends { own - mean_dy[of] - hat * mean_dy_xhat[of] } else { own };
            let scale = Double::from(gamma) * Double::from(self.inv_std[of]);
            dx.push((rest * scale).to_f64());
        }

        let over_groups = |sums: &[Double]| -> Vec<f64> {
            let of = |c| sums.iter().skip(c).step_by(channels).copied().sum::<Double>().to_f64();
            (0..channels).map(of).collect()
        };
        Gradients {
            dgamma: over_groups(&sum_dy_xhat),
            dbeta: over_groups(&sum_dy),
            x_hat: x_hat.into_iter().map(Double::to_f64).collect(),
            sum_dy: sum_dy.into_iter().map(Double::to_f64).collect(),
            sum_dy_xhat: sum_dy_xhat.into_iter().map(Double::to_f64).collect(),
            norm_dy: square_dy.into_iter().map(f64::sqrt).collect(),
            norm_dy_xhat: square_dy_xhat.into_iter().map(f64::sqrt).collect(),
            dy,
            count,
            dx,
        }
    }
}
