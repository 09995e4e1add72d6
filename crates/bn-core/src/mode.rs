//! Modes as values: which statistics normalise, and whether running statistics are updated.

use core::fmt;

/// The statistics that normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Those of the batch itself: they depend on x, and backward knows it.
    Batch,
    /// The running ones.
    Running,
    /// Any others that the caller gives.
    Given,
}

/// Whether running statistics are updated from this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// They stay as they are.
    Keep,
    /// The batch enters them.
    Update,
}

/// How a layer normalises: the two choices that a single `training: bool` ties together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Which statistics normalise.
    pub statistics: Statistics,
    /// Whether running statistics are updated.
    pub tracking: Tracking,
}

impl Mode {
    /// Training: batch statistics normalise, running statistics follow them.
    pub const TRAIN: Self = Self { statistics: Statistics::Batch, tracking: Tracking::Update };
    /// Evaluation and frozen training: running statistics normalise and stay as they are.
    pub const EVAL: Self = Self { statistics: Statistics::Running, tracking: Tracking::Keep };
    /// Recalibration: running statistics normalise, and the batch enters them afterwards.
    pub const RECALIBRATE: Self =
        Self { statistics: Statistics::Running, tracking: Tracking::Update };
    /// Batch statistics without a memory: PyTorch's `track_running_stats=False`.
    pub const BATCH_ONLY: Self = Self { statistics: Statistics::Batch, tracking: Tracking::Keep };
}

/// Whether the statistics that normalised were a function of x, which is what backward needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dependence {
    /// Batch statistics: dx = (g − mean(g) − x̂·mean(g·x̂))·inv_std.
    Batch,
    /// Running or given statistics: dx = g·inv_std.
    Fixed,
}

impl From<Statistics> for Dependence {
    fn from(statistics: Statistics) -> Self {
        match statistics {
            Statistics::Batch => Self::Batch,
            Statistics::Running | Statistics::Given => Self::Fixed,
        }
    }
}

/// What training does where each channel has one value, whose variance is 0 whatever the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SingleValue {
    /// An error, as in PyTorch: y would be beta whatever x is.
    #[default]
    Refuse,
    /// Variance 0, and the factor n/(n − 1) of the unbiased variance taken as 1, as in Caffe.
    Allow,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statistics = match self.statistics {
            Statistics::Batch => "batch",
            Statistics::Running => "running",
            Statistics::Given => "given",
        };
        let tracking = match self.tracking {
            Tracking::Keep => "kept",
            Tracking::Update => "updated",
        };
        write!(f, "{statistics} statistics normalise, running ones are {tracking}")
    }
}
