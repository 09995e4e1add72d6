//! The table of known backends, the one place that asks which features are on.
//!
//! A new backend is a row in [`known`], a `pub use` in the crate's root and a feature in the manifest.

use bn_core::{Element, Error, HostBackend};

use super::Options;

/// Makes a backend ready to run, or says why it cannot.
pub(super) type Open<T> = fn(&Options) -> Result<Box<HostBackend<T>>, Error>;

/// A backend that this version of the crate knows, whether or not this build holds it.
pub(super) struct Known<T: Element> {
    /// What command lines call it.
    pub(super) name: &'static str,
    /// The feature flag that compiles it in.
    pub(super) feature: &'static str,
    /// How to open it; `None` where its feature is off.
    pub(super) open: Option<Open<T>>,
}

macro_rules! row {
    ($name:literal, $feature:literal, $open:expr) => {
        Known {
            name: $name,
            feature: $feature,
            #[cfg(feature = $feature)]
            open: Some($open),
            #[cfg(not(feature = $feature))]
            open: None,
        }
    };
}

/// Every known backend, the fastest first: the order in which `auto` tries them.
pub(super) fn known<T: Element>() -> impl Iterator<Item = Known<T>> {
    [
        row!("rayon", "rayon", |options| Ok(Box::new(match options.threads {
            None => bn_rayon::RayonBackend::new(),
            Some(threads) => bn_rayon::RayonBackend::with_threads(threads)?,
        }))),
        row!("naive", "naive", |_| Ok(Box::new(bn_naive::NaiveBackend))),
        // On the CPU: a device of candle's is for who has tensors there, by `bn::candle::CandleBackend`.
        row!("candle", "candle", |_| Ok(Box::new(bn_core::Staged::new(
            bn_candle::CandleBackend::default()
        )))),
    ]
    .into_iter()
}
