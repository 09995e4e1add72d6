//! The suite's own answer: the formulas of the contract in twice the precision of an `f64`.
//!
//! Written apart from every backend, on `f64` copies of the inputs: it shares no code with what it judges,
//! not even the arithmetic of indices. What judges the reference is PyTorch (the golden files) and
//! differentiation by differences (`tests/reference.rs` in this package).
//!
//! ```
//! use bn_conformance::reference::{Moments, Normalizer};
//! use bn_core::{Layout, Problem};
//!
//! let problem = Problem::new(&[4, 1], Layout::ChannelsFirst)?;
//! let x = [1.0, 2.0, 3.0, 6.0];
//! let moments = Moments::of(&problem, &x, None);
//! assert_eq!((moments.mean[0].to_f64(), moments.m2[0].to_f64()), (3.0, 14.0));
//!
//! let inv_std = moments.inv_std(0.5);
//! let (gamma, beta, residual, relu) = (Some(&[2.0][..]), None, None, true);
//! let (problem, mean, inv_std) = (&problem, &moments.mean[..], &inv_std[..]);
//! let normalizer = Normalizer { problem, mean, inv_std, gamma, beta, residual, relu };
//! assert_eq!(normalizer.apply(&x).y, [0.0, 0.0, 0.0, 3.0]);
//! # Ok::<(), bn_core::Error>(())
//! ```

mod backward;
mod double;
mod forward;
mod walk;

pub use backward::{Backward, Gradients};
pub use double::Double;
pub use forward::{Moments, Normalized, Normalizer, running_update};
pub use walk::{Cell, Walk, pack_bits, walk};
