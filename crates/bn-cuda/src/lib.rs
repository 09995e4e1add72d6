//! Batch normalisation on NVIDIA GPUs, through cudarc: no toolkit to build, the driver alone to run.
//!
//! On an H200 the whole conformance suite passes, and compute-sanitizer finds nothing in most of it; without a GPU the
//! same kernels pass the suite on an emulation of CUDA's threads. What was measured there, beside cuDNN and PyTorch,
//! stands in `docs/gpu.md` of the repository with everything that was tried; `scripts/on_gpu.sh` does it again in one
//! call.
//!
//! [`CudaBackend`] implements all operations of [`bn_core::BatchNormBackend`] with every feature: both
//! layouts, in place, ReLU and add + ReLU with activation bits, groups, masks, in `f32`, `f64`, `f16` and
//! `bf16`. Its buffers are [`Buffer`]s in [`DeviceMemory`]; cudarc's own slices come and go without a copy
//! by [`DeviceMemory::adopt`] and [`DeviceMemory::release`], or are read where they lie by [`DeviceMemory::lend`].
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
//! | `moments` | moments of each part, finish |
//! | `normalize`, `forward_inference` | one pass (and fixed statistics, where they are to be saved) |
//! | `backward_reduce` | sums of each part, finish |
//! | `backward_apply` | one pass |
//! | `forward_training` | one, where a channel or a tile of channels stays on the chip; else moments of each part, finish (with the running update), one pass |
//! | `backward` | one, likewise; else sums of each part, finish (with dgamma and dbeta), one pass |
//!
//! All are queued in the backend's stream, the caller's where it was made by [`CudaBackend::on_stream`]; no
//! operation waits for the device, and statistics never come to the host. What an operation writes besides
//! its outputs lies in a workspace, which it gives back when its kernels are queued; those of the next operation
//! that takes it are queued behind them.
//!
//! In channels-first a block takes a part of one channel, in channels-last a tile of channels of a run of
//! rows. Threads read units of the widest kind that rows have whole ones of: 16 bytes, of the 16-bit types 8, or
//! one value. Each kernel that goes through a tensor is there twice: plain, for aligned tensors without a mask, and
//! for any. The pass that writes goes through the tensor backwards, and so begins with what the reduction before it
//! has left in the L2 cache.
//!
//! From `sm_90` on, where blocks run in clusters of up to 16 and read each other's shared memory, a cluster has a
//! channel (in channels-last a tile of 128 bytes of a row), and each of its blocks a part of up to 104 KB, of which
//! it keeps 74 or 112 KB in shared memory and reads the rest a second time from L2. So x, or dy and x, come from memory
//! once. Launches with masks, groups or odd addresses, channels above 1.6 MB and tiles above 0.8 MB take three kernels, as
//! all do on older devices. Parts are cut, summed and merged alike both ways:
//! [`CudaBackend::without_clusters`] gives the same bits, and the suite compares them.
//!
//! # Accuracy and determinism
//!
//! The threads of a part sum deviations from its first value in `f64` (from the median of the first three where
//! the values are `f64` themselves), and the parts' means are compared with each other and not summed: so neither
//! a mean of 1e9 nor a value far off costs the variance its digits, a constant channel has exactly that mean and no
//! variance, and no square of values narrower than `f64` leaves the range. Passes that write compute in `f32` (in `f64` for `f64`), the mean in
//! two parts; a channel whose coefficients do not fit is computed in `f64`. A data-centre GPU adds half as many
//! `f64` as `f32` in a cycle, which memory does not wait for; a consumer card adds a 64th, and there reductions will
//! be bound by it.
//!
//! There are no floating-point atomics: parts and the order in which they are merged follow from the problem
//! alone, so the same bits come on every run and every device, in place and out of place, at every address.
//! Kernels are compiled without contraction of a·b + c, so two of them round alike.
//!
//! # Bytes and times
//!
//! On an H200, whose copies move 4.1 TB/s (bytes read and written), for `f32`, 32×64×112×112, channels-first (a
//! tensor is 103 MB):
//!
//! | operation | reads + writes | MB | predicted µs | measured µs |
//! |---|---|---|---|---|
//! | inference | x + y | 206 | 50 | 59 |
//! | training, on the chip | x + y | 206 | 50 | 88 |
//! | training, in three kernels | x, x + y | 308 | 75 | 97 |
//! | backward, on the chip | dy, x + dx | 308 | 75 | 139 |
//! | backward, in three kernels | dy, x, dy, x + dx | 514 | 125 | 140 |
//!
//! A channel of this shape is the largest that stays on the chip, and gains least: blocks with 104 KB fit two or three
//! to a multiprocessor, and memory waits while they reduce and wait for each other. Over ResNet-50's shapes at N = 32
//! (`f32`, channels-first) training takes 0.63 to 0.91 of the time of three kernels, backward 0.66 to 1.00. Small
//! shapes are bound by the chain of latencies in a block, some 10 µs.
//!
//! # Kernels as text
//!
//! `kernels/*.cu` are the truth. `cargo xtask ptx` compiles them with a pinned NVRTC of CUDA 12.0, whose PTX every
//! driver from 525 on takes; the text is checked in and embedded, a file for each source and element type, and
//! the driver compiles one for its device on the first use (and keeps it). `cargo xtask ptx --check`, in CI, compares
//! text and sources and assembles all of it for three architectures with spills as errors.
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
pub use driver::{Block, Driver, Lent};
pub use kernel::{Geometry, Kernel, MOST_BLOCKS_OF_CLUSTER, MOST_SHARED_BYTES, Operation, Source};
pub use machine::Machine;
pub use memory::{Buffer, DeviceMemory};
