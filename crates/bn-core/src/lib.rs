//! The contract of batch normalisation: what is computed, by which operations, and who answers for what.
//!
//! This crate knows no backend. It holds the types that describe a problem, the trait that backends
//! implement, the statistics and their conventions, and the errors. Who wants to normalise something
//! takes the facade crate `bn`; who writes a backend starts here.
//!
//! # The formulas
//!
//! For each channel, over its m values (all samples of a group and all spatial positions):
//!
//! ```text
//! mean = (1/m) Σ x              M2 = Σ (x − mean)²            var = M2/m
//! inv_std = 1/sqrt(var + eps)   x̂ = (x − mean)·inv_std        y = epilogue(gamma·x̂ + beta)
//!
//! dbeta = Σ dy                  dgamma = Σ dy·x̂               g = gamma·dy
//! dx = (g − mean(g) − x̂·mean(g·x̂))·inv_std                    statistics of the batch
//! dx = g·inv_std                                              fixed statistics
//! ```
//!
//! Behind a fused ReLU, dy stands for the gradient that the ReLU let through, and the residual's
//! gradient is that dy. The derivation is that of "Caffe BatchNormalization 推导"; with gamma = 1 and
//! beta = 0 it is Caffe's BatchNorm layer, whose gamma and beta are the Scale layer behind it.
//!
//! # The operations
//!
//! Four are required of a backend, three are provided by composing them, and may be overridden:
//!
//! | operation | reads | writes |
//! |---|---|---|
//! | [`moments`](BatchNormBackend::moments) | x, mask | mean, M2 |
//! | [`normalize`](BatchNormBackend::normalize) | x, mean, inv_std, gamma, beta, residual | y, bits |
//! | [`backward_reduce`](BatchNormBackend::backward_reduce) | dy, gate, x or x̂, mean, inv_std | Σdy, Σdy·x̂ |
//! | [`backward_apply`](BatchNormBackend::backward_apply) | dy, gate, x or x̂, statistics, sums, gamma, mask | dx, dresidual |
//! | [`forward_training`](BatchNormBackend::forward_training) | x, mask, gamma, beta, residual | y, bits, saved statistics, running statistics |
//! | [`forward_inference`](BatchNormBackend::forward_inference) | x, fixed statistics, gamma, beta, residual | y, bits, saved statistics |
//! | [`backward`](BatchNormBackend::backward) | dy, gate, x or x̂, saved statistics, gamma, mask | dx, dgamma, dbeta, dresidual |
//!
//! # The modes
//!
//! A [`Mode`] says which statistics normalise and whether running ones are updated:
//!
//! | mode | normalises with | running statistics | forward | backward |
//! |---|---|---|---|---|
//! | [`Mode::TRAIN`] | the batch's | read and updated | `forward_training` with `running` | [`Dependence::Batch`] |
//! | [`Mode::BATCH_ONLY`] | the batch's | not touched | `forward_training` | [`Dependence::Batch`] |
//! | [`Mode::EVAL`] | running | read | `forward_inference` | [`Dependence::Fixed`] |
//! | [`Mode::RECALIBRATE`] | running | read, then updated | `moments`, `forward_inference`, [`RunningMut::absorb`] | [`Dependence::Fixed`] |
//! | statistics [given](FixedStatistics::Given) | the caller's | not touched | `forward_inference` | [`Dependence::Fixed`] |
//!
//! How a batch enters the running statistics is a type as well: [`Momentum`] and [`RunningVariance`].
//!
//! # Who validates
//!
//! A [`Problem`] is checked where it is made. A request is a struct of public fields;
//! [`Request::check`] compares every length and range with the problem and returns a [`Checked`]
//! request, the only thing an operation takes. So a backend needs no second look, and unsafe code may
//! rely on the lengths. What a request needs beyond the ordinary is a list of [`Feature`]s; what a
//! backend lacks is in its [`Capabilities`] with a reason, and it refuses before it writes.
//!
//! Values are not judged: a NaN or infinity in x spoils its own channel (of its group) and no other,
//! and a stored variance below −eps gives NaN in its channel. A position that a mask leaves out does
//! not enter the statistics, but it is normalised: backward reads it. Deviations whose squares leave
//! the range of `f64`, beyond about 1e154, make the variance infinite; `f32` data has none.
//!
//! # The errors
//!
//! One enum, [`Error`]: shapes ([`Error::Rank`], [`Error::NoChannels`], [`Error::EmptyBatch`],
//! [`Error::SizeOverflow`], [`Error::Groups`]), operands ([`Error::Length`], [`Error::Counts`],
//! [`Error::MaskOfAnotherProblem`]), numbers ([`Error::Eps`], [`Error::Momentum`], [`Error::Scale`]), too few values
//! ([`Error::OneValuePerChannel`], [`Error::NoValidPositions`]), backends ([`Error::Unsupported`],
//! [`Error::UnsupportedElement`], [`Error::Unavailable`]) and what fails while running
//! ([`Error::OutOfMemory`], [`Error::Device`]). All but [`Error::Device`] come before the first write.
//!
//! # What is exact and what is deterministic
//!
//! - Statistics are `f64`, accurate whatever the mean: y stays within 1e-6·max(1, |y|) of the `f64`
//!   answer for `f32` data of mean 1e4 and deviation 1. A constant channel gives exactly beta.
//! - Every output is the same bits on every run and for every number of threads: the shape of each
//!   reduction follows from the [`Problem`] alone. Two backends agree to rounding, not to the bit.
//! - In place and out of place give the same bits.
//!
//! # Example
//!
//! Forward and backward on slices, with any backend:
//!
//! ```
//! use bn_core::*;
//!
//! fn step(backend: &HostBackend<f32>) -> Result<Vec<f32>, Error> {
//!     let problem = Problem::new(&[2, 3, 4], Layout::ChannelsFirst)?;
//!     let x: Vec<f32> = (0..24).map(|i| (i * i % 7) as f32).collect();
//!     let (gamma, beta) = ([1.0, 0.5, 2.0], [0.0, 1.0, -1.0]);
//!     let (mut running_mean, mut running_var) = ([0.0; 3], [1.0; 3]);
//!     let mut seen = Seen::default();
//!     let (mut y, mut mean, mut inv_std) = (vec![0.0; 24], [0.0; 3], [0.0; 3]);
//!
//!     let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
//!     let request = ForwardTraining {
//!         gamma: Some(&gamma[..]),
//!         beta: Some(&beta[..]),
//!         running: Some(RunningMut {
//!             mean: &mut running_mean[..],
//!             var: &mut running_var[..],
//!             seen: &mut seen,
//!             momentum: Momentum::New(0.1),
//!             variance: RunningVariance::Unbiased,
//!         }),
//!         ..ForwardTraining::new(problem, InOut::new(&x[..], &mut y[..]), saved)
//!     };
//!     backend.forward_training(request.check()?)?;
//!
//!     let (dy, mut dx) = (vec![1.0; 24], vec![0.0; 24]);
//!     let (mut dgamma, mut dbeta) = ([0.0; 3], [0.0; 3]);
//!     let io = InOut::new(&dy[..], &mut dx[..]);
//!     let request = Backward {
//!         gamma: Some(&gamma[..]),
//!         dgamma: Some(&mut dgamma[..]),
//!         dbeta: Some(&mut dbeta[..]),
//!         ..Backward::new(problem, io, SavedTensor::Input(&x[..]), &mean[..], &inv_std[..])
//!     };
//!     backend.backward(request.check()?)?;
//!     assert_eq!(dbeta, [8.0; 3]);
//!     Ok(dx)
//! }
//!
//! // A constant dy moves nothing: batch statistics take it away again.
//! assert!(step(&bn_naive::NaiveBackend)?.iter().all(|dx| dx.abs() < 1e-6));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Statistics over chunks, processes and data sets
//!
//! Moments merge exactly, so statistics of more than fits one call need no operation of their own: take the
//! moments of each part, merge them, and let the result normalise or enter the running statistics.
//! Across processes, backward is the same: [`BackwardReduce`] on each, the sums added, then
//! [`BackwardApply`] with the [`Counts`] of all.
//!
//! ```
//! use bn_core::*;
//!
//! fn channels(backend: &HostBackend<f32>, rows: &[f32]) -> Result<Vec<ChannelMoments>, Error> {
//!     let problem = Problem::new(&[rows.len() / 2, 2], Layout::ChannelsLast)?;
//!     let (mut mean, mut m2) = ([0.0; 2], [0.0; 2]);
//!     let (x, valid) = (rows, None);
//!     let request = Moments { problem, x, valid, mean: &mut mean[..], m2: &mut m2[..] };
//!     backend.moments(request.check()?)?;
//!     Ok(moments_of(&problem, &Counts::from(&problem), &mean, &m2))
//! }
//!
//! let backend = bn_naive::NaiveBackend;
//! let mut total = vec![ChannelMoments::default(); 2];
//! for chunk in [[1.0, 10.0, 2.0, 20.0].as_slice(), &[3.0, 30.0], &[4.0, 40.0, 5.0, 50.0]] {
//!     let part = channels(&backend, chunk)?;
//!     total.iter_mut().zip(part).for_each(|(total, part)| *total = total.merge(part));
//! }
//! assert_eq!((total[0].mean, total[1].variance()), (3.0, 200.0));
//!
//! let (mut mean, mut var, mut seen) = ([0.0], [0.0], Seen::default());
//! let running: RunningMut<'_, f32, HostMemory> = RunningMut {
//!     mean: &mut mean[..],
//!     var: &mut var[..],
//!     seen: &mut seen,
//!     momentum: Momentum::Cumulative,
//!     variance: RunningVariance::Unbiased,
//! };
//! running.absorb(&HostMemory, &total[..1])?;
//! assert_eq!((mean, var, seen.batches), ([3.0], [2.5], 1));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Writing a backend
//!
//! Implement [`Backend`] (a name, a device, a [`Memory`]) and the four operations, and run the suite
//! of the package `bn-conformance` from one line in your `tests/conformance.rs`. `bn-naive` is the
//! smallest example; [`Staged`] puts a device backend behind the same dyn form as the others.
#![forbid(unsafe_code)]

mod backend;
mod capability;
mod compose;
mod element;
mod epilogue;
mod error;
mod mask;
mod memory;
mod mode;
mod moments;
mod problem;
mod request;
mod running;
mod staged;

pub use backend::{Backend, BatchNormBackend, HostBackend};
pub use capability::{Capabilities, Device, Feature};
pub use compose::{merge_groups, moments_of, parameter_gradient};
pub use element::{DType, Element, Scalar};
pub use epilogue::{Epilogue, Gate, passes, relu};
pub use error::Error;
pub use half::{bf16, f16};
pub use mask::{Counts, ValidPositions};
pub use memory::{HostMemory, Memory};
pub use mode::{Dependence, Mode, SingleValue, Statistics, Tracking};
pub use moments::{ChannelMoments, inv_std};
pub use problem::{Layout, Problem};
pub use request::{
    Backward, BackwardApply, BackwardReduce, Checked, Correction, FixedStatistics,
    ForwardInference, ForwardTraining, InOut, Moments, Normalize, Request, RunningMut,
    SavedStatistics, SavedTensor,
};
pub use running::{Blend, Momentum, RunningVariance, Seen, update_running};
pub use staged::Staged;
