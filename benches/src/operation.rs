//! What is timed, and the least that it must move through memory.

/// An operation of a backend, as the benchmarks call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `forward_training` with gamma, beta and running statistics.
    Training,
    /// The same with a fused ReLU that records its bits.
    TrainingRelu,
    /// The same with a fused residual add and ReLU.
    TrainingAddRelu,
    /// `forward_inference` with running statistics, gamma and beta.
    Inference,
    /// The same with a fused ReLU.
    InferenceRelu,
    /// The same with a fused residual add and ReLU.
    InferenceAddRelu,
    /// `backward` through batch statistics, with dgamma and dbeta.
    Backward,
    /// The same behind a ReLU, from its bits.
    BackwardRelu,
    /// The same behind a residual add and ReLU, with the residual's gradient.
    BackwardAddRelu,
    /// `moments` alone.
    Moments,
    /// `normalize` alone.
    Normalize,
    /// `backward_reduce` alone.
    BackwardReduce,
    /// `backward_apply` alone.
    BackwardApply,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 13] = [
        Self::Training,
        Self::TrainingRelu,
        Self::TrainingAddRelu,
        Self::Inference,
        Self::InferenceRelu,
        Self::InferenceAddRelu,
        Self::Backward,
        Self::BackwardRelu,
        Self::BackwardAddRelu,
        Self::Moments,
        Self::Normalize,
        Self::BackwardReduce,
        Self::BackwardApply,
    ];

    /// Its name in ids and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::TrainingRelu => "training+relu",
            Self::TrainingAddRelu => "training+add-relu",
            Self::Inference => "inference",
            Self::InferenceRelu => "inference+relu",
            Self::InferenceAddRelu => "inference+add-relu",
            Self::Backward => "backward",
            Self::BackwardRelu => "backward+relu",
            Self::BackwardAddRelu => "backward+add-relu",
            Self::Moments => "moments",
            Self::Normalize => "normalize",
            Self::BackwardReduce => "backward-reduce",
            Self::BackwardApply => "backward-apply",
        }
    }

    /// The tensors that it cannot do without. Statistics and bits, a thirty-second of an `f32` tensor
    /// and less, are not counted.
    #[must_use]
    pub const fn traffic(self) -> Traffic {
        let (reads, writes) = match self {
            Self::Moments => (1, 0),
            Self::BackwardReduce => (2, 0),
            Self::Training
            | Self::TrainingRelu
            | Self::Inference
            | Self::InferenceRelu
            | Self::Normalize => (1, 1),
            Self::TrainingAddRelu
            | Self::InferenceAddRelu
            | Self::Backward
            | Self::BackwardRelu
            | Self::BackwardApply => (2, 1),
            Self::BackwardAddRelu => (2, 2),
        };
        Traffic { reads, writes }
    }
}

/// How often an operation reads and writes memory of the size of x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// How many tensors are read: 1 or 2.
    pub reads: usize,
    /// How many are written: 0, 1 or 2.
    pub writes: usize,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub const fn tensors(self) -> usize {
        self.reads + self.writes
    }
}
