//! The device behind NVIDIA's driver, through cudarc: all calls of the driver stand in this folder.

mod block;
mod probe;

use core::ffi::c_void;
use core::{fmt, ptr};
use std::ffi::CString;
use std::sync::{Arc, OnceLock};

use bn_core::{DType, Device, Error};
use cudarc::driver::sys::{self, CUfunction_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaModule, CudaStream, DriverError, result};

pub use block::{Block, Lent};

use crate::backend::{CudaBackend, NAME};
use crate::kernel::{Geometry, Kernel, MOST_SHARED_BYTES, Source};
use crate::machine::Machine;

/// One GPU and the stream that work is queued in.
pub struct Driver {
    stream: Arc<CudaStream>,
    label: String,
    architecture: String,
    has_clusters: bool,
    /// By source and element type.
    modules: [[OnceLock<Arc<CudaModule>>; DType::ELEMENTS.len()]; Source::ALL.len()],
    functions: Box<[OnceLock<Function>]>,
}

/// A kernel that the driver has compiled.
struct Function(sys::CUfunction);

// SAFETY: a function is a handle into its module, which the driver lets every thread use.
unsafe impl Send for Function {}
// SAFETY: as above; the handle is only ever read.
unsafe impl Sync for Function {}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("label", &self.label).finish_non_exhaustive()
    }
}

impl CudaBackend {
    /// The backend on the GPU of that number, with a stream of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] without a driver or device, or where either is too old, with the reason in
    /// words; [`Error::OutOfMemory`] and [`Error::Device`] where the device has nothing left or fails.
    pub fn new(ordinal: usize) -> Result<Self, Error> {
        let context = probe::context(ordinal)?;
        let stream = context.new_stream().map_err(|error| failure("a new stream", error))?;
        Self::on_stream(stream)
    }

    /// The backend on a stream of the caller's, in whose order everything is done.
    ///
    /// The driver's per-thread default stream is another one in each thread: a backend on it, and its buffers, are
    /// to stay in one thread, or to be ordered between threads by whoever shares them.
    ///
    /// # Errors
    ///
    /// As [`CudaBackend::new`].
    pub fn on_stream(stream: Arc<CudaStream>) -> Result<Self, Error> {
        let driver = Driver::new(stream)?;
        // The smallest, so that a driver that takes no such PTX is known before the first operation.
        driver
            .module(Source::Finish, DType::F32)
            .map_err(|error| probe::unavailable(error.to_string()))?;
        Ok(Self::on(driver))
    }

    /// The stream in which work is queued.
    #[must_use]
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.driver().stream
    }

    /// Waits until everything that was queued is done.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where it failed.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.driver().bind()?;
        self.stream().synchronize().map_err(|error| failure("waiting for the device", error))
    }
}

impl Driver {
    fn new(stream: Arc<CudaStream>) -> Result<Self, Error> {
        let context = stream.context();
        let probe::Description { label, architecture, has_clusters } = probe::describe(context)?;
        let functions = (0..Kernel::COUNT).map(|_| OnceLock::new()).collect();
        Ok(Self {
            stream,
            label,
            architecture,
            has_clusters,
            modules: Default::default(),
            functions,
        })
    }

    fn context(&self) -> &Arc<CudaContext> {
        self.stream.context()
    }

    /// Makes the context that of this thread, as every call of the driver needs.
    fn bind(&self) -> Result<(), Error> {
        self.context().bind_to_thread().map_err(|error| failure("binding the context", error))
    }

    /// Refuses memory of another context, whose addresses mean nothing here.
    fn check_context(&self, stream: &CudaStream) -> Result<(), Error> {
        if stream.context() == self.context() {
            return Ok(());
        }
        let message = "a buffer of another context was given".to_owned();
        Err(Error::Device { backend: NAME, message })
    }

    /// The module of a source and element type, compiled by the driver on its first use.
    fn module(&self, source: Source, dtype: DType) -> Result<&Arc<CudaModule>, Error> {
        // One file has the kernels of all types.
        let dtype = if source == Source::Finish { DType::F32 } else { dtype };
        let column = DType::ELEMENTS.iter().position(|&element| element == dtype);
        let place = &self.modules[source as usize][column.expect("kernels have elements")];
        if let Some(module) = place.get() {
            return Ok(module);
        }
        let module = self
            .context()
            .load_module(cudarc::nvrtc::Ptx::from_src(source.ptx(dtype)))
            .map_err(|error| failure("compiling the kernels' PTX", error))?;
        Ok(place.get_or_init(|| module))
    }

    fn function(&self, kernel: Kernel) -> Result<&Function, Error> {
        let place = &self.functions[kernel.index()];
        if let Some(function) = place.get() {
            return Ok(function);
        }
        let module = self.module(kernel.operation.source(), kernel.dtype)?;
        let function = module.load_function(&kernel.name());
        let function = function.map_err(|error| failure("finding a kernel", error))?;
        if kernel.runs_in_clusters() {
            use CUfunction_attribute::{
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as SHARED,
                CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED as LARGE_CLUSTERS,
            };
            for (attribute, value) in [(SHARED, MOST_SHARED_BYTES as i32), (LARGE_CLUSTERS, 1)] {
                let set = function.set_attribute(attribute, value);
                set.map_err(|error| failure("preparing a kernel for clusters", error))?;
            }
        }
        // The handle stays good as long as the module, which is kept beside it.
        let function = Function(function.cu_function());
        Ok(place.get_or_init(|| function))
    }
}

// SAFETY: blocks are allocations of the driver, which aligns them to 256 bytes, freed in the order of the
// stream; kernels are those of the embedded PTX, by their names, in one stream (in one for each thread where it is
// the per-thread one, as `on_stream` says).
unsafe impl Machine for Driver {
    type Block = Block;

    fn device(&self) -> Device {
        Device { label: self.label.clone(), instruction_set: self.architecture.clone() }
    }

    fn has_clusters(&self) -> bool {
        self.has_clusters
    }

    fn allocate(&self, bytes: usize) -> Result<Block, Error> {
        self.bind()?;
        let stream = Arc::clone(&self.stream);
        // SAFETY: the context is bound; the block frees in the stream that it was taken in.
        let address = unsafe {
            match stream.context().has_async_alloc() {
                true => result::malloc_async(stream.cu_stream(), bytes),
                false => result::malloc_sync(bytes),
            }
        };
        match address {
            Ok(address) => Ok(Block::owned(address, stream)),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                Err(Error::OutOfMemory { bytes })
            }
            Err(error) => Err(failure("an allocation", error)),
        }
    }

    fn address(block: &Block) -> u64 {
        block.address
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the caller's promise is that of the driver's call.
        let done = unsafe { result::memset_d8_async(address, 0, bytes, self.stream.cu_stream()) };
        done.map_err(|error| failure("filling with zeros", error))
    }

    unsafe fn copy_in(&self, from: &[u8], to: u64) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the caller's promise is that of the driver's call; the wait keeps `from` in place.
        let queued = unsafe { result::memcpy_htod_async(to, from, self.stream.cu_stream()) };
        queued
            .and_then(|()| self.stream.synchronize())
            .map_err(|error| failure("a copy to the device", error))
    }

    unsafe fn copy_out(&self, from: u64, to: &mut [u8]) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the caller's promise is that of the driver's call; the wait keeps `to` in place.
        let queued = unsafe { result::memcpy_dtoh_async(to, from, self.stream.cu_stream()) };
        queued
            .and_then(|()| self.stream.synchronize())
            .map_err(|error| failure("a copy from the device", error))
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the caller's promise is that of the driver's call.
        let queued = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) };
        queued.map_err(|error| failure("a copy on the device", error))
    }

    unsafe fn launch(
        &self,
        kernel: Kernel,
        geometry: Geometry,
        arguments: *const c_void,
    ) -> Result<(), Error> {
        self.bind()?;
        let function = self.function(kernel)?.0;
        let Geometry { blocks, threads, shared_bytes, cluster } = geometry;
        let (stream, mut parameters) = (self.stream.cu_stream(), [arguments.cast_mut()]);
        // SAFETY: the function takes one struct, which `arguments` points to and which the driver copies
        // before it returns; what the kernel does with it is the caller's promise. The configuration is read
        // before the call returns, too.
        let queued = unsafe {
            if kernel.runs_in_clusters() {
                let clusters =
                    sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: cluster, y: 1, z: 1 };
                let mut attribute = sys::CUlaunchAttribute_st {
                    id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                    pad: [0; 4],
                    value: sys::CUlaunchAttributeValue { clusterDim: clusters },
                };
                let configuration = sys::CUlaunchConfig_st {
                    gridDimX: blocks,
                    gridDimY: 1,
                    gridDimZ: 1,
                    blockDimX: threads,
                    blockDimY: 1,
                    blockDimZ: 1,
                    sharedMemBytes: shared_bytes,
                    hStream: stream,
                    attrs: &raw mut attribute,
                    numAttrs: 1,
                };
                let parameters = parameters.as_mut_ptr();
                sys::cuLaunchKernelEx(
                    &raw const configuration,
                    function,
                    parameters,
                    ptr::null_mut(),
                )
                .result()
            } else {
                let (grid, block) = ((blocks, 1, 1), (threads, 1, 1));
                result::launch_kernel(function, grid, block, shared_bytes, stream, &mut parameters)
            }
        };
        queued.map_err(|error| failure(&kernel.name(), error))
    }
}

/// What the driver said, as an error of the device.
fn failure(what: &str, error: DriverError) -> Error {
    Error::Device { backend: NAME, message: format!("{what}: {}", words(error)) }
}

/// The driver's own words for an error.
fn words(error: DriverError) -> String {
    let text = error.error_string().ok().and_then(|text| CString::from(text).into_string().ok());
    text.unwrap_or_else(|| format!("error {}", error.0 as u32))
}

#[cfg(test)]
mod tests;
