//! Runs of real Caffe, replayed.
//!
//! A directory of the oracle's format holds `manifest.json`, `errors.json` and a folder of `.npy`
//! files for each case; [`replay`] runs the layers of this crate on the recorded inputs and returns,
//! for each output of each step, how far it lies from the recorded one and how far it may. A second
//! format, [`traces`], holds what every BatchNorm and Scale layer of a real net computed.
//!
//! Nothing is printed and no verdict is hidden: the reports are data, and [`Output::passes`] is the
//! one rule.
//!
//! # Bounds
//!
//! - In [`Numerics::Exact`] the outputs of phase TEST, of stored
//!   statistics, and all blobs after each step are bit-identical.
//! - Everything else lies within 4 times the distance that the manifest records between real Caffe
//!   and an `f64` reference, plus 1e-6 of the largest recorded value (1e-12 in double).
//!
//! Each step starts from the blobs that Caffe had after the step before it, so that one step's
//! roundings are not another's.

mod array;
mod cases;
mod compare;
mod manifest;
pub mod models;
mod setup;
mod special;
pub mod traces;

use std::path::Path;

use bn_core::{BatchNormBackend, HostBackend, HostMemory};

use array::Array;
pub use compare::{Bound, Output};
pub use setup::{Expected, SetUp};

use crate::error::Result;
use crate::layer::{Numerics, Real};

/// In which arithmetic both precisions are replayed.
#[derive(Clone, Copy, Debug)]
pub struct Engines<'b> {
    /// For single precision.
    pub f32: Numerics<'b, f32>,
    /// For double precision.
    pub f64: Numerics<'b, f64>,
}

impl<'b> Engines<'b> {
    /// Caffe's own rounding order.
    pub const EXACT: Self = Self { f32: Numerics::Exact, f64: Numerics::Exact };

    /// A backend that has both precisions.
    pub fn fast<B>(backend: &'b B) -> Self
    where
        B: BatchNormBackend<f32, Memory = HostMemory>
            + BatchNormBackend<f64, Memory = HostMemory>
            + 'static,
    {
        let (single, double): (&HostBackend<f32>, &HostBackend<f64>) = (backend, backend);
        Self { f32: Numerics::Fast(single), f64: Numerics::Fast(double) }
    }
}

/// A precision that picks its engine.
pub(crate) trait Precision: Real + array::Number {
    fn engine<'b>(engines: &Engines<'b>) -> Numerics<'b, Self>;
}

impl Precision for f32 {
    fn engine<'b>(engines: &Engines<'b>) -> Numerics<'b, Self> {
        engines.f32
    }
}

impl Precision for f64 {
    fn engine<'b>(engines: &Engines<'b>) -> Numerics<'b, Self> {
        engines.f64
    }
}

/// What came of one case.
#[derive(Debug)]
pub struct Case {
    /// Its name in the manifest.
    pub name: String,
    /// Every output of every step; an error where the case could not be run to its end.
    pub outputs: Result<Vec<Output>>,
}

impl Case {
    /// Whether the case ran and every output is within its bound. A case without outputs fails.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(&self.outputs, Ok(outputs) if !outputs.is_empty() && outputs.iter().all(Output::passes))
    }
}

/// Everything that a directory holds.
#[derive(Debug)]
pub struct Replay {
    /// The runs of layers over several steps.
    pub cases: Vec<Case>,
    /// The runs with a procedure of their own: two bottoms, double backward, NaN, propagate flags.
    pub special: Vec<Case>,
    /// The layers that Caffe accepts or refuses.
    pub set_ups: Vec<SetUp>,
}

impl Replay {
    /// Whether everything passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.cases.iter().chain(&self.special).all(Case::passes)
            && self.set_ups.iter().all(SetUp::passes)
    }
}

/// Replays a directory of the oracle's format.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) and [`Error::Oracle`](crate::Error::Oracle) where `manifest.json`
/// or `errors.json` cannot be read. What goes wrong in a case is in its report.
pub fn replay(directory: impl AsRef<Path>, engines: &Engines<'_>) -> Result<Replay> {
    let directory = directory.as_ref();
    let manifest = manifest::Manifest::read(directory)?;
    Ok(Replay {
        cases: manifest.cases.iter().map(|case| cases::replay(directory, case, engines)).collect(),
        special: manifest
            .special
            .iter()
            .map(|case| special::replay(directory, case, engines))
            .collect(),
        set_ups: setup::replay(directory)?,
    })
}
