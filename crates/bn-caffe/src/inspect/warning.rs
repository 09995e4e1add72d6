//! What looks wrong.

/// A fork's layer that shares a name, or nearly, with Caffe's BatchNorm and computes something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// NVCaffe's BatchNorm: mean, variance, correction, gamma and beta in five blobs. Mean and
    /// variance may be stored undivided with a factor of 0.
    NvCaffe,
    /// Type `BN` of SegNet and of BN-Inception: scale, shift and perhaps the statistics.
    Bn,
}

/// Something that Caffe refuses, or accepts although it is surely a mistake.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A negative eps: roots of negative numbers, NaN.
    #[error("eps is {eps}, expected a positive number")]
    NegativeEps {
        /// The value.
        eps: f32,
    },
    /// A fraction with which the sums grow without bound or change sign.
    #[error("moving_average_fraction is {fraction}, expected 0 to 1")]
    FractionOutOfRange {
        /// The value.
        fraction: f32,
    },
    /// A net for inference whose outputs depend on the other images of the batch.
    #[error(
        "use_global_stats: false in phase TEST: every batch is normalised by its own statistics, and overwrites the stored ones"
    )]
    BatchStatisticsInTest,
    /// Statistics that are multiplied by 0.
    #[error(
        "the scale factor (blob 2) is 0, so mean and variance count as 0, although {non_zero} stored values are not 0"
    )]
    ZeroFactor {
        /// Number of values other than 0.
        non_zero: usize,
    },
    /// A factor below 0, which turns every sign.
    #[error("the scale factor (blob 2) is {factor}, expected a positive number")]
    NegativeFactor {
        /// The value.
        factor: f64,
    },
    /// Variances below 0 where a root is taken.
    #[error("{count} variances are negative")]
    NegativeVariance {
        /// How many.
        count: usize,
    },
    /// Statistics that are infinite or NaN; they stay so for ever.
    #[error("{count} stored values are infinite or NaN")]
    NonFinite {
        /// How many.
        count: usize,
    },
    /// A BatchNorm that no Scale completes. Caffe's layer has no gamma and beta of its own.
    #[error("no Scale reads the output of this BatchNorm")]
    MissingScale,
    /// Another reader of the values between BatchNorm and Scale.
    #[error("the normalised values are also read by {}", readers.join(", "))]
    SharedOutput {
        /// The layers.
        readers: Vec<String>,
    },
    /// A factor that is not one value per channel.
    #[error("axis {axis}, num_axes {num_axes}: not one value per channel")]
    NotPerChannel {
        /// First covered axis.
        axis: i32,
        /// Number of covered axes.
        num_axes: i32,
    },
    /// Blobs of one BatchNorm, or of it and its Scale, that do not fit each other.
    #[error("{what} has {found} values, expected {expected}")]
    Channels {
        /// Which blob.
        what: String,
        /// Its number of values.
        found: usize,
        /// The number of channels.
        expected: usize,
    },
    /// A layer of a fork.
    #[error("{}", match dialect {
        Dialect::NvCaffe => "NVCaffe's BatchNorm, which is another layer than Caffe's",
        Dialect::Bn => "type \"BN\" of a fork, which is another layer than Caffe's BatchNorm",
    })]
    Dialect {
        /// Which fork's.
        dialect: Dialect,
    },
    /// The weight file was written in training. Phases in weight files say nothing about use.
    #[error("{layers} layers of the weight file carry phase TRAIN: a snapshot of training")]
    TrainPhaseStored {
        /// How many.
        layers: usize,
    },
    /// A number of blobs that Caffe refuses.
    #[error("the weight file has {found} blobs, expected {expected}")]
    BlobCount {
        /// In the file.
        found: usize,
        /// By type and settings.
        expected: usize,
    },
    /// A layer with blobs that the weight file does not have; Caffe fills them by their fillers.
    #[error("no weights of this name")]
    NoWeights,
    /// Layers of the weight file that the net does not have; Caffe ignores them.
    #[error(
        "{count} layers of the weight file with blobs are not in the net, the first is \"{first}\""
    )]
    UnusedWeights {
        /// How many.
        count: usize,
        /// Name of the first.
        first: String,
    },
    /// Something that Caffe, or this reader, refuses.
    #[error("{problem}")]
    Refused {
        /// The message of the error.
        problem: String,
    },
}
