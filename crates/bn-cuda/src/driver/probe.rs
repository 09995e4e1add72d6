//! What is there: library, driver, device, in the order in which each can be missing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bn_core::Error;
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, DriverError, result};

use super::{failure, words};
use crate::backend::NAME;
use crate::kernel::MOST_SHARED_BYTES;

/// The least driver: that of CUDA 12.0, whose PTX the kernels are.
const LEAST_DRIVER: i32 = 12_000;
/// The least compute capability, major and minor.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);
/// Major compute capabilities with clusters of sixteen blocks: Hopper and Blackwell of data centres.
const CLUSTERED: [i32; 2] = [9, 10];

/// The primary context of a device.
pub(super) fn context(ordinal: usize) -> Result<Arc<CudaContext>, Error> {
    if !is_library_present() {
        return Err(unavailable("no NVIDIA driver (libcuda.so.1 not found)"));
    }
    calmly(|| open(ordinal))
}

/// Whether the driver's library can be opened.
///
/// Not cudarc's own question for it: that is not there in a build in which another crate, as candle does, has
/// cudarc linked to the driver.
fn is_library_present() -> bool {
    let names: &[&str] =
        if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };
    names.iter().any(|name| {
        // SAFETY: opens the library and closes it again, which runs no more of it than any use does.
        unsafe { libloading::Library::new(*name) }.is_ok()
    })
}

/// A device, if it is new enough.
pub(super) struct Description {
    /// Its name.
    pub(super) label: String,
    /// `sm_90`, for instance.
    pub(super) architecture: String,
    /// As [`Machine::has_clusters`](crate::Machine::has_clusters).
    pub(super) has_clusters: bool,
}

/// Asks a device who it is.
pub(super) fn describe(context: &CudaContext) -> Result<Description, Error> {
    calmly(|| {
        let name = context.name().map_err(|error| failure("the name of the device", error))?;
        let capability = context.compute_capability();
        let capability = capability.map_err(|error| failure("the compute capability", error))?;
        new_enough(&name, capability)?;
        let (major, minor) = capability;
        let shared = context.attribute(
            sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        );
        let shared = shared.map_err(|error| failure("the shared memory of the device", error))?;
        // Clusters of sixteen are there by architecture, and no attribute tells.
        let has_clusters = CLUSTERED.contains(&major)
            && usize::try_from(shared).is_ok_and(|bytes| bytes >= MOST_SHARED_BYTES);
        Ok(Description { label: name, architecture: format!("sm_{major}{minor}"), has_clusters })
    })
}

fn open(ordinal: usize) -> Result<Arc<CudaContext>, Error> {
    result::init().map_err(|error| unavailable(no_device(error)))?;
    let mut version = 0;
    // SAFETY: writes one int, which lives until it returns.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    asked.result().map_err(|error| failure("the driver's version", error))?;
    if version < LEAST_DRIVER {
        return Err(unavailable(too_old(version)));
    }
    let count = result::device::get_count().map_err(|error| unavailable(no_device(error)))?;
    if usize::try_from(count).is_ok_and(|count| ordinal >= count) {
        return Err(unavailable(no_such_device(ordinal, count)));
    }
    CudaContext::new(ordinal).map_err(|error| match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes: 0 },
        _ => unavailable(format!("device {ordinal}: {}", words(error))),
    })
}

/// Refuses a device whose architecture the kernels are not compiled for.
pub(super) fn new_enough(name: &str, capability: (i32, i32)) -> Result<(), Error> {
    if capability >= LEAST_CAPABILITY {
        return Ok(());
    }
    let ((major, minor), (least, _)) = (capability, LEAST_CAPABILITY);
    Err(unavailable(format!(
        "{name} has compute capability {major}.{minor}; expected {least}.0 or newer"
    )))
}

/// In what words a driver of this version is refused.
pub(super) fn too_old(version: i32) -> String {
    let of = |version: i32| format!("CUDA {}.{}", version / 1000, version % 1000 / 10);
    format!(
        "the NVIDIA driver is for {}; expected one for {} or newer",
        of(version),
        of(LEAST_DRIVER)
    )
}

/// In what words a device that there is not is refused.
pub(super) fn no_such_device(ordinal: usize, count: i32) -> String {
    match count {
        0 => "the NVIDIA driver finds no device".to_owned(),
        _ => format!("there is no device {ordinal}; expected a number below {count}"),
    }
}

fn no_device(error: DriverError) -> String {
    match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => no_such_device(0, 0),
        _ => format!("the NVIDIA driver does not start: {}", words(error)),
    }
}

/// An error that says why there is no backend.
pub(super) fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { backend: NAME, reason: reason.into() }
}

/// Calls a driver that may lack what is asked of it: cudarc panics where a library or one of its functions
/// is missing, and here that is an answer.
pub(super) fn calmly<R>(call: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    // Nothing of the caller's is half done when a call panics: it returns a value or leaves none.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(unavailable(format!("the NVIDIA driver lacks a function: {text}")))
    })
}
