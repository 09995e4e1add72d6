//! The numbers and choices of a layer.

use bn_core::{Dependence, Momentum, RunningVariance, Statistics};

use crate::args::{EpilogueKind, LayerArgs, ModeArg};

/// How to normalise, whatever the element type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The statistics that normalise: the batch's or the running ones.
    pub(crate) statistics: Statistics,
    /// How the batch enters the running statistics.
    pub(crate) momentum: Momentum,
    /// Which variance enters them.
    pub(crate) variance: RunningVariance,
    /// Added to the variance inside the root.
    pub(crate) eps: f64,
    /// What follows.
    pub(crate) epilogue: Option<EpilogueKind>,
}

impl Settings {
    /// The settings that the command line asks for.
    pub(crate) fn new(args: &LayerArgs) -> Self {
        Self {
            statistics: match args.mode {
                ModeArg::Train => Statistics::Batch,
                ModeArg::Eval => Statistics::Running,
            },
            momentum: args.momentum(),
            variance: args.running_variance(),
            eps: args.eps,
            epilogue: args.epilogue,
        }
    }

    /// Whether the batch's own statistics normalise.
    pub(crate) fn trains(&self) -> bool {
        self.statistics == Statistics::Batch
    }

    /// What backward has to know of the statistics.
    pub(crate) fn dependence(&self) -> Dependence {
        self.statistics.into()
    }

    /// The settings in words, without a full stop.
    pub(crate) fn sentence(&self) -> String {
        let (eps, momentum) = (self.eps, self.momentum);
        let statistics = if self.trains() {
            format!("Training: the batch's statistics normalise; running update: {momentum}")
        } else {
            "Evaluation: the running statistics normalise".into()
        };
        let variance = match self.variance {
            RunningVariance::Unbiased => "unbiased",
            RunningVariance::Biased => "biased",
        };
        let variance = if self.trains() { format!(", {variance} variance") } else { String::new() };
        let epilogue =
            self.epilogue.map_or(String::new(), |epilogue| format!("; followed by {epilogue}"));
        format!("{statistics}{variance}; eps {eps:?}{epilogue}")
    }

    /// The settings as JSON documents have them.
    pub(crate) fn document(&self) -> serde_json::Value {
        let (momentum, convention) = match self.momentum {
            Momentum::New(weight) => (Some(weight), "new"),
            Momentum::Old(weight) => (Some(weight), "old"),
            Momentum::Cumulative => (None, "cumulative"),
            Momentum::CaffeSum(fraction) => (Some(fraction), "caffe"),
        };
        serde_json::json!({
            "mode": if self.trains() { "train" } else { "eval" },
            "momentum": momentum,
            "momentum_convention": convention,
            "running_variance": match self.variance {
                RunningVariance::Unbiased => "unbiased",
                RunningVariance::Biased => "biased",
            },
            "eps": self.eps,
            "epilogue": self.epilogue.map(EpilogueKind::option),
        })
    }
}
