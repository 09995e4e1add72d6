//! The options that name tensors.

use clap::Args;

use crate::tensor::{Role, Source};

/// Every tensor but x.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tensor options")]
pub(crate) struct OtherTensors {
    /// The gradient with respect to y, shaped like x: go backward too.
    #[arg(long, value_name = "FILE")]
    dy: Option<Source>,
    /// Scale of each channel; 1 by default.
    #[arg(long, value_name = "FILE")]
    gamma: Option<Source>,
    /// Shift of each channel; 0 by default.
    #[arg(long, value_name = "FILE")]
    beta: Option<Source>,
    /// Running mean of each channel: updated in training, normalised with in evaluation.
    #[arg(long, value_name = "FILE", requires = "running_var")]
    running_mean: Option<Source>,
    /// Running variance of each channel.
    #[arg(long, value_name = "FILE", requires = "running_mean")]
    running_var: Option<Source>,
    /// The other branch of a residual block, shaped like x: for --epilogue add-relu.
    #[arg(long, value_name = "FILE")]
    residual: Option<Source>,
}

impl OtherTensors {
    /// Those that were given.
    pub(crate) fn given(&self) -> impl Iterator<Item = (Role, &Source)> {
        [
            (Role::Dy, &self.dy),
            (Role::Gamma, &self.gamma),
            (Role::Beta, &self.beta),
            (Role::RunningMean, &self.running_mean),
            (Role::RunningVar, &self.running_var),
            (Role::Residual, &self.residual),
        ]
        .into_iter()
        .filter_map(|(role, source)| Some((role, source.as_ref()?)))
    }
}
