//! The conformance suite that every batch normalisation backend runs.
#![forbid(unsafe_code)]

mod call;
mod compare;
mod data;
mod expect;
mod golden;
mod place;
pub mod reference;
pub mod shapes;
mod suite;
pub mod tolerance;
mod trial;
mod trials;

pub use place::{BetweenCanaries, Exact, Guarded, Place};
pub use suite::{Suite, run};
pub use trial::{Outcome, Report, Trial};

/// Makes the `main` of a `harness = false` test that runs the whole suite on a backend on slices.
///
/// `bn_conformance::main!(MyBackend);` is the whole file. A backend that may be absent, lives in memory
/// of its own, lacks element types or has variants writes its `main` with [`Suite`] instead.
#[macro_export]
macro_rules! main {
    ($backend:expr $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::Suite::of($backend).every_element().run()
        }
    };
}
