//! The reference's forward: moments, normalisation, running update.

use bn_core::{Momentum, Problem, RunningVariance};

use super::{Double, walk};

/// Count, mean and M2 = Σ(x − mean)² of each group and channel.
#[derive(Clone, Debug)]
pub struct Moments {
    /// How many values.
    pub count: Vec<u64>,
    /// Their mean.
    pub mean: Vec<Double>,
    /// Their sum of squared deviations.
    pub m2: Vec<Double>,
}

impl Moments {
    /// The moments of `x`, N·C·S values in the problem's layout, over the positions whose byte in the
    /// mask is not 0.
    #[must_use]
    pub fn of(problem: &Problem, x: &[f64], mask: Option<&[u8]>) -> Self {
        let statistics = problem.groups() * problem.channels();
        let is_valid = |position: usize| mask.is_none_or(|mask| mask[position] != 0);
        let values = || walk(problem).zip(x).filter(|(cell, _)| is_valid(cell.position));

        let mut count = vec![0; statistics];
        let mut sum = vec![Double::default(); statistics];
        for (cell, &x) in values() {
            count[cell.statistic] += 1;
            sum[cell.statistic] += Double::from(x);
        }
        let divide = |(sum, &count): (Double, &u64)| sum / Double::from(count as f64);
        let mean: Vec<Double> = sum.into_iter().zip(&count).map(divide).collect();
        let mut m2 = vec![Double::default(); statistics];
        for (cell, &x) in values() {
            let deviation = Double::from(x) - mean[cell.statistic];
            m2[cell.statistic] += deviation * deviation;
        }
        Self { count, mean, m2 }
    }

    /// The biased variance M2/m of one statistic.
    #[must_use]
    pub fn variance(&self, statistic: usize) -> Double {
        self.m2[statistic] / Double::from(self.count[statistic] as f64)
    }

    /// 1/sqrt(variance + eps) of each.
    #[must_use]
    pub fn inv_std(&self, eps: f64) -> Vec<Double> {
        let one = Double::from(1.0);
        let root = |i| one / (self.variance(i) + Double::from(eps)).sqrt();
        (0..self.m2.len()).map(root).collect()
    }
}

/// What turns x into y: statistics of each group and channel, parameters, epilogue.
#[derive(Clone, Copy, Debug)]
pub struct Normalizer<'a> {
    /// The shape of x and y.
    pub problem: &'a Problem,
    /// G·C means.
    pub mean: &'a [Double],
    /// G·C values of 1/sqrt(variance + eps).
    pub inv_std: &'a [Double],
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a [f64]>,
    /// C shifts; 0 where `None`.
    pub beta: Option<&'a [f64]>,
    /// The other branch of a residual block, shaped like x.
    pub residual: Option<&'a [f64]>,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// What the normalisation gives for each value.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// x̂ = (x − mean)·inv_std.
    pub x_hat: Vec<f64>,
    /// gamma·x̂ + beta + residual, behind the ReLU where there is one.
    pub y: Vec<f64>,
}

impl Normalizer<'_> {
    /// Normalises `x`, N·C·S values in the problem's layout.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Normalized {
        let at = |values: Option<&[f64]>, index: usize| values.map(|values| values[index]);
        let (mut x_hat, mut y) = (Vec::with_capacity(x.len()), Vec::with_capacity(x.len()));
        for (index, (cell, &x)) in walk(self.problem).zip(x).enumerate() {
            let of = cell.statistic;
            let hat = (Double::from(x) - self.mean[of]) * self.inv_std[of];
            let scaled = hat * Double::from(at(self.gamma, cell.channel).unwrap_or(1.0));
            let shifted = scaled + Double::from(at(self.beta, cell.channel).unwrap_or(0.0));
            let z = (shifted + Double::from(at(self.residual, index).unwrap_or(0.0))).to_f64();
            x_hat.push(hat.to_f64());
            y.push(if self.relu && z <= 0.0 { 0.0 } else { z });
        }
        Normalized { x_hat, y }
    }
}

/// The running mean and variance of one channel after a batch of `count` values, before they are
/// rounded to the parameter type; `batches` is how many batches came before.
///
/// Written out for each convention by itself, not by way of [`Momentum::blend`].
#[must_use]
pub fn running_update(
    (mean, var): (f64, f64),
    (count, batch_mean, batch_m2): (u64, Double, Double),
    (momentum, batches): (Momentum, u64),
    variance: RunningVariance,
) -> (f64, f64) {
    let divisor = match variance {
        RunningVariance::Unbiased if count > 1 => count - 1,
        _ => count,
    };
    let batch_var = batch_m2 / Double::from(divisor as f64);
    let update = |old: f64, new: Double| {
        let old = Double::from(old);
        let updated = match momentum {
            Momentum::New(weight) => old + Double::from(weight) * (new - old),
            Momentum::Old(weight) => new + Double::from(weight) * (old - new),
            Momentum::Cumulative => {
                (old * Double::from(batches as f64) + new) / Double::from((batches + 1) as f64)
            }
            Momentum::CaffeSum(fraction) => Double::from(fraction) * old + new,
        };
        updated.to_f64()
    };
    (update(mean, batch_mean), update(var, batch_var))
}
