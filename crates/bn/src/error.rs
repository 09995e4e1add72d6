//! What the facade can refuse: choosing a backend, using the layer, reading and writing files.

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
    /// A limit of 0 threads.
    #[error("0 threads; expected at least 1")]
    NoThreads,
}
