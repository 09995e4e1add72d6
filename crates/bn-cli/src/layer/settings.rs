//! The numbers and choices of a layer.

use bn_core::{Dependence, Error, Momentum, RunningVariance, Statistics};

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
    ///
    /// # Errors
    ///
    /// [`Error::Momentum`] and [`Error::Eps`], whether or not the mode makes use of them: a number out of
    /// range is a mistake wherever it stands.
    pub(crate) fn new(args: &LayerArgs) -> Result<Self, Error> {
        args.momentum().check()?;
        if !(args.eps.is_finite() && args.eps > 0.0) {
            return Err(Error::Eps { found: args.eps });
        }
        Ok(Self {
            statistics: match args.mode {
                ModeArg::Train => Statistics::Batch,
                ModeArg::Eval => Statistics::Running,
            },
            momentum: args.momentum(),
            variance: args.running_variance(),
            eps: args.eps,
            epilogue: args.epilogue,
        })
    }

    /// Whether the batch's own statistics normalise.
    pub(crate) fn trains(&self) -> bool {
        self.statistics == Statistics::Batch
    }

    /// What backward has to know of the statistics.
    pub(crate) fn dependence(&self) -> Dependence {
        self.statistics.into()
    }

    /// The settings in words, without a full stop; `tracks` says whether there are running statistics.
    pub(crate) fn sentence(&self, tracks: bool) -> String {
        let (eps, momentum) = (self.eps, self.momentum);
        let variance = match self.variance {
            RunningVariance::Unbiased => "unbiased",
            RunningVariance::Biased => "biased",
        };
        let statistics = match (self.trains(), tracks) {
            (true, true) => format!(
                "Training: the batch's statistics normalise; running update: {momentum}, {variance} \
                 variance"
            ),
            (true, false) => {
                "Training: the batch's statistics normalise; no running ones to update".into()
            }
            (false, _) => "Evaluation: the running statistics normalise".to_owned(),
        };
        let epilogue =
            self.epilogue.map_or(String::new(), |epilogue| format!("; followed by {epilogue}"));
        format!("{statistics}; eps {eps:?}{epilogue}")
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
