//! The arithmetics that there are here: Caffe's own, and every available backend.

use bn::{HostBackend, Options};
use bn_caffe::layer::Numerics;
use bn_caffe::oracle::Engines;

/// One arithmetic.
pub struct Engine {
    /// `exact`, or `fast` and the backend's name.
    pub name: String,
    backends: Option<(Box<HostBackend<f32>>, Box<HostBackend<f64>>)>,
}

impl Engine {
    /// Exact, then each backend of this build that runs on this machine in both precisions.
    pub fn all() -> Vec<Self> {
        let fast = bn::backends().into_iter().filter_map(|entry| {
            let options = Options::default();
            let backends =
                (bn::open(entry.name, &options).ok()?, bn::open(entry.name, &options).ok()?);
            Some(Self { name: format!("fast {}", entry.name), backends: Some(backends) })
        });
        std::iter::once(Self { name: "exact".into(), backends: None }).chain(fast).collect()
    }

    /// Both precisions.
    pub fn engines(&self) -> Engines<'_> {
        match &self.backends {
            None => Engines::EXACT,
            Some((single, double)) => {
                Engines { f32: Numerics::Fast(&**single), f64: Numerics::Fast(&**double) }
            }
        }
    }
}
