//! The arithmetics that there are here: Caffe's own, and every available backend.

use bn::{HostBackend, Options};
use bn_caffe::layer::Numerics;
use bn_caffe::oracle::Engines;

/// One arithmetic.
pub struct Engine {
    /// `exact`, or `fast` and the backend's name.
    pub name: String,
    /// None in exact numerics.
    backend: Option<Backend>,
}

/// A backend, opened in both precisions.
struct Backend {
    single: Box<HostBackend<f32>>,
    double: Box<HostBackend<f64>>,
}

impl Backend {
    fn open(name: &str) -> Result<Self, bn::Error> {
        let options = Options::default();
        Ok(Self { single: bn::open(name, &options)?, double: bn::open(name, &options)? })
    }
}

impl Engine {
    /// Exact, then each backend of this build that runs on this machine in both precisions.
    pub fn all() -> Vec<Self> {
        let fast = bn::backends().into_iter().filter_map(|entry| {
            let backend = Backend::open(entry.name).ok()?;
            Some(Self { name: format!("fast {}", entry.name), backend: Some(backend) })
        });
        std::iter::once(Self { name: "exact".into(), backend: None }).chain(fast).collect()
    }

    /// Both precisions.
    pub fn engines(&self) -> Engines<'_> {
        match &self.backend {
            None => Engines::EXACT,
            Some(Backend { single, double }) => {
                Engines { f32: Numerics::Fast(&**single), f64: Numerics::Fast(&**double) }
            }
        }
    }
}
