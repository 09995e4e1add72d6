//! A CUDA device: bn-cuda's kernels in the stream of candle's device, on candle's own storage.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use bn_core::{Backend as _, BatchNormBackend, Memory as _};
use bn_cuda::{Buffer, CudaBackend, DeviceMemory, Driver};
use candle_core::cuda_backend::DeviceId;
use candle_core::{CudaDevice, Error, Result, Storage};

use super::super::value::{CandleElement, Value};
use super::{Argument, Lent, Site, elsewhere};

/// A device of candle's, and the backend in its stream.
pub(crate) struct Cuda {
    device: CudaDevice,
    backend: CudaBackend,
}

/// The backends of the devices that a layer has been on: kernels are compiled once for each.
static BACKENDS: LazyLock<Mutex<HashMap<DeviceId, CudaBackend>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The same, with workspaces of this thread's: the stream of a device that candle makes is by default the
    /// driver's per-thread one, in which the work of two threads is in no order.
    static OF_THREAD: RefCell<HashMap<DeviceId, CudaBackend>> = RefCell::default();
}

impl Cuda {
    /// The site of a device, whose backend is made when a layer is first on it and kept.
    pub(crate) fn of(device: &CudaDevice) -> Result<Self> {
        let backend = OF_THREAD.with_borrow_mut(|of_thread| {
            if let Some(backend) = of_thread.get(&device.id()) {
                return Ok(backend.clone());
            }
            let backend = shared(device)?.with_own_workspace();
            of_thread.insert(device.id(), backend.clone());
            Ok::<_, Error>(backend)
        })?;
        Ok(Self { device: device.clone(), backend })
    }
}

fn shared(device: &CudaDevice) -> Result<CudaBackend> {
    let mut backends = BACKENDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = backends.get(&device.id()) {
        return Ok(backend.clone());
    }
    let backend = CudaBackend::on_stream(device.cuda_stream()).map_err(Error::wrap)?;
    backends.insert(device.id(), backend.clone());
    Ok(backend)
}

impl Site for Cuda {
    type Memory = DeviceMemory<Driver>;
    type Read<'a, E: Value> = bn_cuda::Lent<'a, E>;

    fn backend<T: CandleElement>(&self) -> &dyn BatchNormBackend<T, Memory = Self::Memory> {
        &self.backend
    }

    fn fresh<E: Value>(&self, len: usize) -> Result<Buffer<E, Driver>> {
        self.backend.memory().uninitialized(len).map_err(Error::wrap)
    }

    fn zeros<E: Value>(&self, len: usize) -> Result<Buffer<E, Driver>> {
        self.backend.memory().alloc(len).map_err(Error::wrap)
    }

    fn read<'a, E: Value>(&'a self, argument: Argument<'a>) -> Result<bn_cuda::Lent<'a, E>> {
        let Lent::Cuda(storage) = argument.storage else { return Err(elsewhere()) };
        let values = storage.as_cuda_slice::<E>()?;
        let values = values.slice(argument.range());
        self.backend.memory().lend(values).map_err(Error::wrap)
    }

    fn copy<E: Value>(&self, argument: Argument<'_>) -> Result<Buffer<E, Driver>> {
        let from = self.read(argument)?;
        let mut to = self.fresh(from.len())?;
        self.backend.memory().copy(&from, &mut to).map_err(Error::wrap)?;
        Ok(to)
    }

    fn keep<E: Value>(&self, values: Buffer<E, Driver>) -> Result<Storage> {
        let values = self.backend.memory().release(values).map_err(Error::wrap)?;
        Ok(Storage::Cuda(E::wrap_cuda_slice(values, self.device.clone())))
    }
}
