//! Batch normalisation on all cores of a CPU: tiles, rayon, and the same bits for any number of threads.
//!
//! [`RayonBackend`] overrides all operations of [`bn_core::BatchNormBackend`].
//!
//! ```
//! use bn_core::{BatchNormBackend, ForwardTraining, InOut, Layout, Problem, Request, SavedStatistics};
//! use bn_rayon::RayonBackend;
//!
//! let problem = Problem::new(&[2, 1, 2], Layout::ChannelsFirst)?;
//! let x = [1.0f32, 2.0, 3.0, 4.0];
//! let (mut y, mut mean, mut inv_std) = ([0.0; 4], [0.0], [0.0]);
//! let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
//! let io = InOut::new(&x[..], &mut y[..]);
//! RayonBackend::new().forward_training(ForwardTraining::new(problem, io, saved).check()?)?;
//! assert_eq!(mean, [2.5]);
//! assert_eq!(y[0], -y[3]);
//! # Ok::<(), bn_core::Error>(())
//! ```
//!
//! # How it is fast
//!
//! The operation is bound by memory, so what counts is how often a value travels. In channels-first a
//! unit of channels is reduced and then written while it is in the cache of one core, backwards, so that
//! what was read last is used first; and while it is written, the sums of the next unit are taken, a short
//! turn of each, so that memory is read and written at the same time. In channels-last rows are
//! one flat run, summed row by row. Where the processor likes it, samples or runs of rows are
//! walked side by side. Statistics are settled eight channels at a time. Outputs of which the next layer
//! would find little in the cache bypass it, by whole lines, whatever the alignment of rows. Small tensors
//! stay on the calling thread.
//! What that comes to, and what was tried and lost, is in `docs/performance.md`.
//!
//! # How it is accurate
//!
//! Sums are taken of x − K, K one of the channel's own values or the mean of sixteen (of all, where they are
//! fewer than 64), in chains of at most four `f32` vectors that go on in `f64`; of fewer than 1536 values
//! in `f64` at once. Longer chains were tried: at 16 vectors, 784 values gave an inv_std off by 2e-7. A channel whose sums show cancellation, overflow or
//! underflow is summed again in `f64`, and one whose coefficients leave the range of `f32` is written in
//! `f64`, its neighbours untouched. What is subtracted from x is the mean as `f32` holds it; what that lacks is
//! multiplied in `f64` and goes into the offset.
//!
//! # Determinism
//!
//! The parts over which a channel is summed follow from the problem alone, and their sums are added in
//! order; threads only decide who does what, and the processor only in which order memory is walked. Vectors
//! have the same virtual width at every [`Level`].

mod backend;
mod backward;
mod bits;
mod channels_first;
mod channels_last;
mod compiled;
mod eight;
mod engine;
mod forward;
mod references;
mod run;
mod settle;
mod shared;
mod simd;
mod source;
mod statistics;
mod team;
mod tile;
mod tuning;
mod workspace;

pub use backend::RayonBackend;
pub use simd::Level;
