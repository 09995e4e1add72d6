//! Batch normalisation on NVIDIA GPUs, through cudarc: no toolkit to build, the driver alone to run.
//!
//! **Nothing in this crate has run on a GPU yet.** The kernels compile for `sm_80`, `sm_90` and `sm_100`
//! without spills and pass the whole conformance suite on an emulation of CUDA's threads; times below are
//! predictions. `scripts/on_gpu.sh` does in one call what is left.
//!
//! [`CudaBackend`] implements all operations of [`bn_core::BatchNormBackend`] with every feature: both
//! layouts, in place, ReLU and add + ReLU with activation bits, groups, masks, in `f32`, `f64`, `f16` and
//! `bf16`. Its buffers are [`Buffer`]s in [`DeviceMemory`]; cudarc's own slices come and go without a copy
//! by [`DeviceMemory::adopt`] and [`DeviceMemory::release`].
//!
//! ```
//! use bn_core::{BatchNormBackend, Backend, ForwardTraining, InOut, Layout, Memory, Problem, Request};
//! use bn_core::{Error, SavedStatistics};
//! use bn_cuda::CudaBackend;
//!
//! # fn main() -> Result<(), Error> {
//! let backend = match CudaBackend::new(0) {
//!     Ok(backend) => backend,
//!     // "backend cuda is unavailable: no NVIDIA driver (libcuda.so.1 not found)"
//!     Err(error) => return Ok(println!("{error}")),
//! };
//! let memory = backend.memory();
//! let problem = Problem::new(&[2, 1, 2], Layout::ChannelsFirst)?;
//! let x = memory.upload(&[1.0f32, 2.0, 3.0, 4.0])?;
//! let mut y = memory.alloc::<f32>(4)?;
//! let (mut mean, mut inv_std) = (memory.alloc::<f64>(1)?, memory.alloc::<f64>(1)?);
//! let saved = SavedStatistics { mean: &mut mean, inv_std: &mut inv_std };
//! backend.forward_training(ForwardTraining::new(problem, InOut::new(&x, &mut y), saved).check()?)?;
//! // Reading waits for what was queued.
//! assert_eq!(memory.download(&mean)?, [2.5]);
//! # Ok(())
//! # }
//! ```
//!
//! # What runs
//!
//! | operation | kernels |
//! |---|---|
//! | `moments` | moments of each part, then finish |
//! | `normalize`, `forward_inference` | one pass (and fixed statistics, where they are to be saved) |
//! | `backward_reduce` | sums of each part, then finish |
//! | `backward_apply` | one pass |
//! | `forward_training` | one launch of teams; or moments of each part, finish (with the running update), one pass |
//! | `backward` | one launch of teams; or sums of each part, finish (with dgamma and dbeta), one pass |
//!
//! All are queued in the backend's stream, the caller's where it was made by [`CudaBackend::on_stream`]; no
//! operation waits for the device, and statistics never come to the host. What an operation writes besides
//! its outputs lies in a workspace that is kept for the next one. Two operations never write the same
//! workspace, because it goes back once its kernels are queued, and the next user's queue behind them.
//!
//! In channels-first a block takes a part of one channel, in channels-last a tile of channels of a run of
//! rows. Threads read units of 16 bytes where the address allows and narrower ones elsewhere, a few before they
//! compute.
//!
//! In channels-first, training and backward of one group are one cooperative launch, in which a team of
//! blocks keeps to a channel from its reduction to its last value: all teams together have as many bytes under
//! way as the device holds blocks of 64 KiB, 17 MB on an H200, and the second pass reads them from L2. Where
//! the device does not hold two teams, or in channels-last, whose tiles lie across the whole tensor, there are
//! three launches. Both ways cut and merge alike, to the same bits. Of three launches, the pass that writes goes
//! through the tensor backwards, and so begins with what the reduction before it has left in the L2 cache.
//!
//! # Accuracy and determinism
//!
//! A thread sums deviations from its first value in `f64`, and partial moments are merged by count (Chan et
//! al.), each mean as one of the values and the mean deviation from it: so neither a mean of 1e9 nor a value
//! far off costs the variance its digits, a constant channel has exactly that mean and no variance, and no
//! square leaves the range. Passes that write compute in `f32` (in `f64` for `f64`), the mean in two parts;
//! a channel whose coefficients do not fit is computed in `f64`. An `f64` addition costs a data-centre GPU two
//! of `f32`, and memory is waited for longer; on a consumer card, with a 64th of the rate, reductions are
//! bound by them.
//!
//! There are no floating-point atomics: parts and the order in which they are merged follow from the problem
//! alone, so the same bits come on every run and every device, in place and out of place, at every address.
//! Kernels are compiled without contraction of a·b + c, so two of them round alike.
//!
//! # Predicted bytes and times
//!
//! On an H200, 4.3 TB/s of copy bandwidth (bytes read and written), 60 MB of L2, 3 µs for a kernel that
//! does next to nothing. For `f32`, 32×64×112×112 (one tensor is 103 MB):
//!
//! | kernel | reads + writes | MB | µs |
//! |---|---|---|---|
//! | moments of each part | x | 103 | 24 |
//! | finish, either | statistics of 1600 parts | 0.1 | 3 |
//! | normalize | x + y | 206 | 48; 39 where L2 holds 40 MB of x |
//! | normalize with add + ReLU | x, residual + y, bits | 312 | 72 |
//! | sums of each part | dy, x | 206 | 48 |
//! | gradient | dy, x + dx | 308 | 72; 63 where L2 holds 40 MB |
//! | **inference** | x + y | 206 | 48 |
//! | **training**, three launches | x, x + y | 308 | 66 to 75 |
//! | **backward**, three launches | dy, x, dy, x + dx | 514 | 114 to 123 |
//! | **training** by teams | x + y | 206 | 58: a fifth waiting for the others |
//! | **backward** by teams | dy, x + dx | 308 | 86: the same |
//!
//! `bf16` takes half of each. Where the operands of both passes fit in L2, as from 14×14 on at N = 32, the
//! second pass reads them there in any case: 32×2048×7×7 (13 MB) is bound by its launches, 10 µs of three and 5 µs
//! of one. At N = 256 a channel of 112×112 has 196 parts, of which no two teams fit: three launches, which move what
//! cuDNN moves, and so do those of channels-last; there, 1.2 times of it is not predicted. Tried on paper and
//! left out: groups of channels by separate launches, each of which costs 4 to 9 µs and saves the 6 µs of
//! reading 25 MB again. Not tried: clusters, which `sm_80` has not.
//!
//! # Kernels as text
//!
//! `kernels/*.cu` are the truth. `cargo xtask ptx` compiles them with a pinned NVRTC of CUDA 12.0, whose PTX every
//! driver from 525 on takes; the text is checked in and embedded, and the driver compiles it for its device on
//! the first use (and keeps it). `cargo xtask ptx --check`, in CI, compares text and sources and assembles all
//! of it for three architectures with spills as errors.
//!
//! # What may be missing
//!
//! [`CudaBackend::new`] looks for the library, the driver's version, a device and its architecture, in this
//! order, and says which it misses; cudarc's panics where a driver lacks a function are caught there.

mod arguments;
mod backend;
mod backward;
mod driver;
mod forward;
mod kernel;
mod launch;
mod machine;
mod memory;
mod operands;
mod plan;
mod workspace;

pub use arguments::ARGUMENT_SIZES;
pub use backend::CudaBackend;
pub use driver::{Block, Driver};
pub use kernel::{Geometry, Kernel, Operation, Source};
pub use machine::Machine;
pub use memory::{Buffer, DeviceMemory};
