//! What the facade can refuse: choosing a backend, using the layer, reading and writing files.

use std::path::PathBuf;

use bn_core::Layout;

/// What went wrong: each variant carries what was found, and its message says what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the contract or a backend refused.
    #[error(transparent)]
    Core(#[from] bn_core::Error),

    /// A backend that nobody knows.
    #[error("there is no backend {name}; expected one of {}", known.join(", "))]
    UnknownBackend {
        /// The name found.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// A known backend that is not part of this build.
    #[error(
        "backend {name} is left out of this build; build with feature `{feature}` of bn to have it"
    )]
    LeftOut {
        /// The backend.
        name: &'static str,
        /// The feature flag that compiles it in.
        feature: &'static str,
    },
    /// A build or a machine without any backend for the element type.
    #[error("no backend can run: {}", reasons.join("; "))]
    NoBackend {
        /// Why each known one cannot.
        reasons: Vec<String>,
    },
    /// A number of threads that is 0, or so large that it must be a mistake.
    #[error("{found} threads; expected 1 to {most}")]
    Threads {
        /// The number.
        found: usize,
        /// The largest that is taken, [`Options::MOST_THREADS`](crate::Options::MOST_THREADS).
        most: usize,
    },

    /// Caffe's factor, which is the sum of all weights, is not a number that sums can be divided by.
    #[error("the factor of the running statistics is {found}; expected a finite number")]
    Factor {
        /// The factor.
        found: f64,
    },

    /// A layer of 0 channels.
    #[error("a layer of 0 channels; expected at least 1")]
    NoChannels,
    /// A layer of 0 groups.
    #[error("0 groups of the batch; expected at least 1")]
    NoGroups,
    /// An x whose channel axis is not the layer's.
    #[error("shape {dims:?} has {found} channels ({layout}); expected {expected}, the layer's")]
    Channels {
        /// The dimensions found.
        dims: Box<[usize]>,
        /// The layer's layout.
        layout: Layout,
        /// The channels found.
        found: usize,
        /// The layer's channels.
        expected: usize,
    },
    /// An array that is not shaped like the one it goes with.
    #[error("{operand} has shape {found:?}; expected {expected:?}")]
    Shape {
        /// Which array.
        operand: &'static str,
        /// Its shape.
        found: Box<[usize]>,
        /// The shape it should have.
        expected: Box<[usize]>,
    },
    /// A layer that adds a residual, without one.
    #[error(
        "no residual; the layer's activation is add + ReLU: expected Input::new(x).residual(r)"
    )]
    MissingResidual,
    /// A residual for a layer that adds none.
    #[error("a residual for a layer that adds none; expected Activation::AddRelu")]
    UnexpectedResidual,
    /// In-place training where y is not x̂, so that backward would have nothing to start from.
    #[error(
        "forward in place overwrites x, and this layer's y is not x̂; expected a layer without gamma, \
         beta and activation (or infer_in_place, which needs no backward)"
    )]
    InPlace,
    /// A mode that needs running statistics, for a layer built without.
    #[error(
        "no running statistics to {wanted}: the layer was built without; expected Mode::BATCH_ONLY"
    )]
    NoRunningStatistics {
        /// What was to be done with them.
        wanted: &'static str,
    },
    /// A mode of given statistics, of which the layer has none.
    #[error("the layer has no given statistics; expected those of the batch or running ones")]
    GivenStatistics,
    /// A running statistic that no data has.
    #[error("{name} of channel {channel} is {found}; expected {expected}")]
    Statistic {
        /// Which statistic.
        name: &'static str,
        /// Of which channel.
        channel: usize,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Moments of fewer values than a variance needs.
    #[error("the moments of channel {channel} are of {found} values; expected at least {expected}")]
    TooFewValues {
        /// Of which channel.
        channel: usize,
        /// How many values.
        found: u64,
        /// How many the layer asks for.
        expected: u64,
    },

    /// A file that could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes that are not the safetensors format.
    #[error("not a safetensors file: {reason}")]
    NotSafetensors {
        /// What is wrong with them.
        reason: String,
    },
    /// A tensor in a file that does not fit the layer.
    #[error("tensor {name}: {found}; expected {expected}")]
    Tensor {
        /// Its name, with prefix.
        name: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
}

impl Error {
    pub(crate) fn shape(operand: &'static str, found: &[usize], expected: &[usize]) -> Self {
        Self::Shape { operand, found: found.into(), expected: expected.into() }
    }
}
