//! Batch normalisation behind one trait: backends by feature flag or at run time, and the layer.
#![forbid(unsafe_code)]

pub mod checkpoint;
mod dense;
mod error;
mod layer;
mod registry;

pub use bn_core as core;
pub use bn_core::{
    Capabilities, ChannelMoments, DType, Device, Element, Feature, HostBackend, Layout, Mode,
    Momentum, Problem, RunningVariance, Seen, SingleValue, bf16, f16,
};
#[cfg(feature = "naive")]
pub use bn_naive as naive;
#[cfg(feature = "rayon")]
pub use bn_rayon as rayon;
pub use error::Error;
pub use layer::{
    Activation, BatchNorm, Builder, Cache, Gradients, InPlaceCache, Input, RunningStatistics,
    StreamedMoments,
};
pub use registry::{BackendEntry, Choice, Options, Status, backends, open};
