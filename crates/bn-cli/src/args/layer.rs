//! The options that say how to normalise.

use std::fmt;
use std::str::FromStr;

use bn_core::{Layout, Momentum, RunningVariance};
use clap::{Args, ValueEnum};

/// How to normalise.
#[derive(Debug, Args)]
#[command(next_help_heading = "Layer options")]
pub(crate) struct LayerArgs {
    /// Whose statistics normalise: the batch's, or the running ones. Backward follows: through the
    /// statistics in train, with fixed statistics in eval.
    #[arg(long, value_enum, default_value_t = ModeArg::Train)]
    pub(crate) mode: ModeArg,
    /// Weight in the running update, from 0 to 1, or cumulative for the plain average of all batches,
    /// this one being the first. 0.1 by default, or 0.9 with --momentum-convention old, which is the
    /// same update.
    #[arg(long, value_name = "NUMBER|cumulative", allow_hyphen_values = true)]
    momentum: Option<MomentumArg>,
    /// Whose weight --momentum is: the new value's (PyTorch) or the old one's (Keras, ONNX).
    #[arg(long, value_enum, default_value_t = Direction::New)]
    momentum_convention: Direction,
    /// Which variance enters the running one: n − 1 (PyTorch) or n in the denominator (Keras, ONNX).
    #[arg(long, value_enum, default_value_t = VarianceArg::Unbiased)]
    running_variance: VarianceArg,
    /// Added to the variance inside the root; above 0.
    #[arg(long, value_name = "NUMBER", default_value_t = 1e-5, allow_hyphen_values = true)]
    pub(crate) eps: f64,
    /// Where the channels lie.
    #[arg(long, value_enum, default_value_t = LayoutArg::ChannelsFirst)]
    pub(crate) layout: LayoutArg,
    /// What follows: a ReLU, or the addition of --residual and a ReLU.
    #[arg(long, value_enum)]
    pub(crate) epilogue: Option<EpilogueKind>,
}

impl LayerArgs {
    /// How the batch enters the running statistics.
    pub(crate) fn momentum(&self) -> Momentum {
        match (self.momentum, self.momentum_convention) {
            (Some(MomentumArg::Cumulative), _) => Momentum::Cumulative,
            (Some(MomentumArg::Weight(weight)), Direction::New) => Momentum::New(weight),
            (Some(MomentumArg::Weight(weight)), Direction::Old) => Momentum::Old(weight),
            (None, Direction::New) => Momentum::New(0.1),
            (None, Direction::Old) => Momentum::Old(0.9),
        }
    }

    /// Which variance enters the running statistics.
    pub(crate) const fn running_variance(&self) -> RunningVariance {
        match self.running_variance {
            VarianceArg::Unbiased => RunningVariance::Unbiased,
            VarianceArg::Biased => RunningVariance::Biased,
        }
    }
}

/// Whose statistics normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// The batch's
    Train,
    /// The running ones
    Eval,
}

/// What `--momentum` takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MomentumArg {
    Weight(f64),
    Cumulative,
}

impl FromStr for MomentumArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("cumulative") {
            return Ok(Self::Cumulative);
        }
        text.parse().map(Self::Weight).map_err(|_| "expected a number from 0 to 1, or cumulative")
    }
}

/// Whose weight a momentum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// running ← (1 − a)·running + a·batch
    New,
    /// running ← a·running + (1 − a)·batch
    Old,
}

/// Which variance enters the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VarianceArg {
    /// n − 1 in the denominator
    Unbiased,
    /// n in the denominator
    Biased,
}

/// Where the channels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutArg {
    /// N×C×…
    ChannelsFirst,
    /// N×…×C
    ChannelsLast,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::ChannelsFirst => Self::ChannelsFirst,
            LayoutArg::ChannelsLast => Self::ChannelsLast,
        }
    }
}

/// What follows the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EpilogueKind {
    /// relu(y)
    Relu,
    /// relu(y + residual)
    AddRelu,
}

impl EpilogueKind {
    /// As the option takes it.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::AddRelu => "add-relu",
        }
    }
}

impl fmt::Display for EpilogueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relu => "ReLU",
            Self::AddRelu => "add + ReLU",
        })
    }
}
