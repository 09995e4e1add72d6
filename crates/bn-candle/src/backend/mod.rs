//! candle's own tensor operations as a backend.

mod axes;
mod backward;
mod bits;
mod forward;
mod memory;

use bn_core::{
    Backend, BackwardApply, BackwardReduce, BatchNormBackend, Checked, Element, Error, Moments,
    Normalize,
};
use candle_core::{Device, DeviceLocation};

pub use memory::{CandleBuffer, CandleMemory};

pub(crate) const NAME: &str = "candle";

/// Batch normalisation by candle's tensor operations, on any device that candle has.
///
/// Everything is computed in `f64`, tensor operation by tensor operation, which makes it accurate and
/// slow: it shows what candle alone can do, and runs where no other backend does. Who trains a
/// network takes the layer, [`BatchNorm`](crate::BatchNorm).
///
/// A device without `f64` (Metal) answers with candle's own error. Sums are taken in the order that
/// candle takes them: one after the other on the CPU, so that the bits do not depend on threads.
///
/// Tensors go in and come out without copies; on slices it runs inside [`Staged`](bn_core::Staged).
///
/// ```
/// use bn_candle::{CandleBackend, CandleBuffer, Layout};
/// use bn_core::{BatchNormBackend, Moments, Problem, Request};
/// use candle_core::{Device, Tensor};
///
/// let x = Tensor::new(&[[1f32, 10.0], [3.0, 30.0]], &Device::Cpu)?;
/// let problem = Problem::new(x.dims(), Layout::ChannelsLast)?;
/// let zeros = Tensor::zeros(2, candle_core::DType::F64, &Device::Cpu)?;
/// let x = CandleBuffer::<f32>::from_tensor(&x)?;
/// let (mut mean, mut m2) = (CandleBuffer::from_tensor(&zeros)?, CandleBuffer::from_tensor(&zeros)?);
/// let request = Moments { problem, x: &x, valid: None, mean: &mut mean, m2: &mut m2 };
/// CandleBackend::new(Device::Cpu).moments(request.check()?)?;
/// assert_eq!(mean.tensor().to_vec1::<f64>()?, [2.0, 20.0]);
/// assert_eq!(m2.tensor().to_vec1::<f64>()?, [2.0, 200.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CandleBackend {
    memory: CandleMemory,
}

impl CandleBackend {
    /// The backend on this device.
    #[must_use]
    pub const fn new(device: Device) -> Self {
        Self { memory: CandleMemory::new(device) }
    }
}

impl Default for CandleBackend {
    /// The backend on the CPU.
    fn default() -> Self {
        Self::new(Device::Cpu)
    }
}

impl Backend for CandleBackend {
    type Memory = CandleMemory;

    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self) -> bn_core::Device {
        let label = match self.memory.device().location() {
            DeviceLocation::Cpu => "CPU, candle tensors".to_owned(),
            DeviceLocation::Cuda { gpu_id } => format!("CUDA device {gpu_id}, candle tensors"),
            DeviceLocation::Metal { gpu_id } => format!("Metal device {gpu_id}, candle tensors"),
        };
        bn_core::Device { label, instruction_set: "candle operations in f64".to_owned() }
    }

    fn memory(&self) -> &CandleMemory {
        &self.memory
    }
}

impl<T: Element> BatchNormBackend<T> for CandleBackend {
    fn moments(&self, request: Checked<Moments<'_, T, CandleMemory>>) -> Result<(), Error> {
        forward::moments(request.into_inner()).map_err(failed)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, CandleMemory>>) -> Result<(), Error> {
        forward::normalize(request.into_inner()).map_err(failed)
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, CandleMemory>>,
    ) -> Result<(), Error> {
        backward::reduce(request.into_inner()).map_err(failed)
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, CandleMemory>>,
    ) -> Result<(), Error> {
        backward::apply(request.into_inner()).map_err(failed)
    }
}

/// An error of candle's in this backend's name.
pub(crate) fn failed(error: candle_core::Error) -> Error {
    Error::Device { backend: NAME, message: error.to_string() }
}
