//! The kernels of `bn-cuda` on a CPU, for tests without a GPU.
//!
//! The sources are compiled unmodified as C++, against a header that supplies what they use of CUDA C++.
//! Each thread of a block is a coroutine, and a [`Machine`](bn_cuda::Machine) runs blocks one after the
//! other, those of a cluster together: at a barrier a thread waits until all of its block or cluster have come, at a
//! shuffle until all of its warp have. Asynchronous copies are done when they are waited for. Threads go forwards, backwards, or in an order drawn from a seed; shared memory and fresh device
//! memory are full of NaN, and guards stand on both sides of every allocation. So what is tested is logic:
//! indices, tails, barriers, lengths. It says nothing of memory order, of compiled code, or of speed.
//!
//! Where the build found no C++ compiler, [`Emulator::backend`] says so and the tests are ignored.

#[cfg(emulated)]
mod copies;
#[cfg(emulated)]
mod kernels;
mod machine;
mod memory;
#[cfg(emulated)]
mod runtime;
#[cfg(emulated)]
mod scheduler;

pub use machine::{Emulator, Order, Planted};

/// The size of a struct of arguments as the C++ compiler lays it out; 0 where there is none of that name.
#[cfg(emulated)]
#[must_use]
pub fn size_of_arguments(name: &str) -> usize {
    kernels::Variant::of(Planted::Nothing).size_of(name)
}
