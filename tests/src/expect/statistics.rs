//! Expected statistics: of the batch, fixed, running.

use bn_core::{DType, Element, Problem};

use crate::call::{Running, Update};
use crate::compare::Expected;
use crate::reference::{Double, Moments, running_update};
use crate::tolerance::{E, Precision};

/// Mean and inverse deviation of each group and channel, and how far an answer may be off.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedStatistics {
    pub mean: Vec<Double>,
    pub inv_std: Vec<Double>,
    pub mean_slack: Vec<f64>,
    pub inv_std_slack: Vec<f64>,
}

impl ExpectedStatistics {
    /// Those of a batch.
    pub(crate) fn of_batch(moments: &Moments, eps: f64, dtype: DType) -> Self {
        let inv_std = moments.inv_std(eps);
        let m2_slack = m2_slack(moments, dtype);
        let inv_std_slack = (0..inv_std.len()).map(|i| {
            let variance = m2_slack[i] / moments.count[i] as f64;
            let relative = 0.5 * variance / (moments.variance(i).to_f64() + eps) + 4.0 * E;
            inv_std[i].to_f64() * relative
        });
        Self {
            mean_slack: mean_slack(moments, dtype),
            inv_std_slack: inv_std_slack.collect(),
            mean: moments.mean.clone(),
            inv_std,
        }
    }

    /// Given ones, which nobody can get wrong.
    pub(crate) fn given(mean: &[f64], inv_std: &[f64]) -> Self {
        let doubles = |values: &[f64]| values.iter().copied().map(Double::from).collect();
        let none = vec![0.0; mean.len()];
        Self {
            mean: doubles(mean),
            inv_std: doubles(inv_std),
            mean_slack: none.clone(),
            inv_std_slack: none,
        }
    }

    /// Running ones, stored in any scale.
    pub(crate) fn running(mean: &[f64], var: &[f64], scale: f64, eps: f64) -> Self {
        let scale = Double::from(scale);
        let mean: Vec<Double> = mean.iter().map(|&mean| scale * Double::from(mean)).collect();
        let inverse = |&var: &f64| {
            let variance = scale * Double::from(var);
            Double::from(1.0) / (variance + Double::from(eps)).sqrt()
        };
        let inv_std: Vec<Double> = var.iter().map(inverse).collect();
        let few_roundings =
            |values: &[Double]| values.iter().map(|value| 4.0 * E * value.to_f64().abs()).collect();
        Self {
            mean_slack: few_roundings(&mean),
            inv_std_slack: few_roundings(&inv_std),
            mean,
            inv_std,
        }
    }

    pub(crate) fn mean(&self) -> Expected {
        let values = self.mean.iter().map(|mean| mean.to_f64()).collect();
        Expected { values, slack: self.mean_slack.clone() }
    }

    pub(crate) fn inv_std(&self) -> Expected {
        let values = self.inv_std.iter().map(|inv_std| inv_std.to_f64()).collect();
        Expected { values, slack: self.inv_std_slack.clone() }
    }
}

fn mean_slack(moments: &Moments, dtype: DType) -> Vec<f64> {
    let u = Precision::of(dtype).inside;
    let slack = |i: usize| {
        let (m, std) = (moments.count[i] as f64, moments.variance(i).to_f64().sqrt());
        u * std + 4.0 * E * moments.mean[i].to_f64().abs() + 4.0 * m.sqrt() * E * std
    };
    (0..moments.mean.len()).map(slack).collect()
}

fn m2_slack(moments: &Moments, dtype: DType) -> Vec<f64> {
    let u = Precision::of(dtype).inside;
    let mean_slack = mean_slack(moments, dtype);
    let slack = |i: usize| {
        let m = moments.count[i] as f64;
        let relative = 2.0 * u + 8.0 * E + 8.0 * m.sqrt() * E;
        moments.m2[i].to_f64() * relative + m * mean_slack[i] * mean_slack[i]
    };
    (0..moments.mean.len()).map(slack).collect()
}

/// M2 of a batch.
pub(crate) fn expected_m2(moments: &Moments, dtype: DType) -> Expected {
    let values = moments.m2.iter().map(|m2| m2.to_f64()).collect();
    Expected { values, slack: m2_slack(moments, dtype) }
}

/// Running statistics after a batch, whose groups are taken as one.
pub(crate) fn expected_running<T: Element>(
    problem: &Problem,
    x: &[f64],
    mask: Option<&[u8]>,
    update: &Update<'_, T::Param>,
) -> (Expected, Expected) {
    let whole = Moments::of(&problem.ungrouped(), x, mask);
    let (mean_slack, m2_slack) = (mean_slack(&whole, T::DTYPE), m2_slack(&whole, T::DTYPE));
    let Running { mean, var, seen } = update.before;
    let u = Precision::of(T::DTYPE).param;
    let (mut means, mut vars) = (Expected::default(), Expected::default());
    for c in 0..problem.channels() {
        let (old_mean, old_var) = (mean[c].to_f64(), var[c].to_f64());
        let count = whole.count[c];
        let batch = (count, whole.mean[c], whole.m2[c]);
        let none = (count, Double::default(), Double::default());
        let new = |old, batch| {
            running_update(old, batch, (update.momentum, seen.batches), update.variance)
        };
        let (new_mean, new_var) = new((old_mean, old_var), batch);
        // The parts of the old and the new value, from updates with the other one absent.
        let (kept_mean, kept_var) = new((old_mean, old_var), none);
        let (added_mean, added_var) = new((0.0, 0.0), batch);
        let share = |added: f64, batch: Double| match batch.to_f64() {
            0.0 => 0.0,
            batch => added / batch,
        };
        means.values.push(new_mean);
        means.slack.push(
            share(added_mean, batch.1).abs() * mean_slack[c]
                + 2.0 * u * (kept_mean.abs() + added_mean.abs()),
        );
        vars.values.push(new_var);
        vars.slack.push(
            share(added_var, batch.2).abs() * m2_slack[c]
                + 2.0 * u * (kept_var.abs() + added_var.abs()),
        );
    }
    (means, vars)
}
