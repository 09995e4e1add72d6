//! Expected outputs of forward.

use bn_core::{DType, Problem};

use super::ExpectedStatistics;
use crate::compare::Expected;
use crate::reference::{Normalizer, walk};
use crate::tolerance::Precision;

/// Parameters and epilogue of a normalisation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Affine<'a> {
    pub gamma: Option<&'a [f64]>,
    pub beta: Option<&'a [f64]>,
    pub residual: Option<&'a [f64]>,
    pub relu: bool,
}

/// y of a normalisation with these statistics.
pub(crate) fn expected_y(
    problem: &Problem,
    dtype: DType,
    statistics: &ExpectedStatistics,
    x: &[f64],
    affine: Affine<'_>,
) -> Expected {
    let Affine { gamma, beta, residual, relu } = affine;
    let (mean, inv_std) = (&statistics.mean[..], &statistics.inv_std[..]);
    let normalizer = Normalizer { problem, mean, inv_std, gamma, beta, residual, relu };
    let normalized = normalizer.apply(x);
    let precision = Precision::of(dtype);
    let u = precision.inside;
    let slack = walk(problem).zip(&normalized.x_hat).enumerate().map(|(index, (cell, x_hat))| {
        let of = cell.statistic;
        let gamma = gamma.map_or(1.0, |gamma| gamma[cell.channel]).abs();
        let beta = beta.map_or(0.0, |beta| beta[cell.channel]).abs();
        let residual = residual.map_or(0.0, |residual| residual[index]).abs();
        let (mean, inv_std) = (mean[of].to_f64().abs(), inv_std[of].to_f64());
        let scaled = gamma * x_hat.abs();
        gamma * inv_std * statistics.mean_slack[of]
            + scaled * (statistics.inv_std_slack[of] / inv_std)
            + 4.0 * u * scaled
            + 2.0 * u * (scaled + beta + residual)
            + gamma * inv_std * mean * precision.subtraction()
    });
    Expected { slack: slack.collect(), values: normalized.y }
}
