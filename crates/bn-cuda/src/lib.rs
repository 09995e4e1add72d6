//! Batch normalisation on NVIDIA GPUs, through cudarc: no toolkit to build, the driver alone to run.

mod arguments;
mod backend;
mod backward;
mod driver;
mod forward;
mod kernel;
mod launch;
mod machine;
mod memory;
mod plan;
mod workspace;

pub use arguments::ARGUMENT_SIZES;
pub use backend::CudaBackend;
pub use driver::Driver;
pub use kernel::{Geometry, Kernel, Operation, Source};
pub use machine::Machine;
pub use memory::{Buffer, DeviceMemory};
