//! Tensors as the memory of a backend.

use core::marker::PhantomData;

use bn_core::{DType, Error, HostMemory, Memory, Scalar, bf16, f16};
use candle_core::{Device, Tensor};

use super::failed;

/// The memory of a candle device: buffers are flat tensors.
#[derive(Clone, Debug)]
pub struct CandleMemory {
    device: Device,
}

impl CandleMemory {
    /// The memory of this device.
    #[must_use]
    pub const fn new(device: Device) -> Self {
        Self { device }
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }
}

/// A flat tensor of `E` values.
///
/// candle's tensors are not written to, so an operation writes a buffer by putting another tensor in
/// its place. Whoever holds a clone of the old tensor keeps the old values.
#[derive(Clone, Debug)]
pub struct CandleBuffer<E> {
    tensor: Tensor,
    element: PhantomData<E>,
}

impl<E: Scalar> CandleBuffer<E> {
    /// A tensor's values in their logical order: without copying where they lie so, cut off from its graph.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedElement`] where the tensor is of another type than `E`, [`Error::Device`]
    /// where candle fails.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, Error> {
        if tensor.dtype() != dtype(E::DTYPE) {
            let reason =
                format!("the tensor is {}; expected {}", tensor.dtype().as_str(), E::DTYPE);
            return Err(Error::UnsupportedElement {
                backend: super::NAME,
                dtype: E::DTYPE,
                reason,
            });
        }
        Self::flat(&tensor.detach()).map_err(failed)
    }

    /// The flat tensor.
    #[must_use]
    pub const fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// A tensor of the right type, flattened.
    pub(super) fn flat(tensor: &Tensor) -> candle_core::Result<Self> {
        debug_assert_eq!(tensor.dtype(), dtype(E::DTYPE));
        Ok(Self { tensor: tensor.flatten_all()?.contiguous()?, element: PhantomData })
    }
}

impl Memory for CandleMemory {
    type Buffer<E: Scalar> = CandleBuffer<E>;
    type Owned<E: Scalar> = CandleBuffer<E>;

    fn len<E: Scalar>(buffer: &CandleBuffer<E>) -> usize {
        buffer.tensor.elem_count()
    }

    fn alloc<E: Scalar>(&self, len: usize) -> Result<CandleBuffer<E>, Error> {
        // candle aborts where the host's memory cannot be had; asked for here first, it is an error.
        drop(HostMemory.alloc::<E>(len)?);
        let tensor = Tensor::zeros(len, dtype(E::DTYPE), &self.device).map_err(failed)?;
        Ok(CandleBuffer { tensor, element: PhantomData })
    }

    fn read<E: Scalar>(&self, from: &CandleBuffer<E>, to: &mut [E]) -> Result<(), Error> {
        download(&from.tensor, to).map_err(failed)
    }

    fn write<E: Scalar>(&self, from: &[E], to: &mut CandleBuffer<E>) -> Result<(), Error> {
        to.tensor = upload(from, &self.device).map_err(failed)?;
        Ok(())
    }

    fn upload<E: Scalar>(&self, from: &[E]) -> Result<CandleBuffer<E>, Error> {
        let tensor = upload(from, &self.device).map_err(failed)?;
        Ok(CandleBuffer { tensor, element: PhantomData })
    }
}

/// candle's name of an element type.
pub(super) const fn dtype(dtype: DType) -> candle_core::DType {
    match dtype {
        DType::F32 => candle_core::DType::F32,
        DType::F64 => candle_core::DType::F64,
        DType::F16 => candle_core::DType::F16,
        DType::BF16 => candle_core::DType::BF16,
        DType::U8 => candle_core::DType::U8,
    }
}

fn upload<E: Scalar>(host: &[E], device: &Device) -> candle_core::Result<Tensor> {
    macro_rules! from {
        ($type:ty) => {
            Tensor::from_slice(bytemuck::cast_slice::<E, $type>(host), host.len(), device)
        };
    }
    match E::DTYPE {
        DType::F32 => from!(f32),
        DType::F64 => from!(f64),
        DType::F16 => from!(f16),
        DType::BF16 => from!(bf16),
        DType::U8 => from!(u8),
    }
}

fn download<E: Scalar>(tensor: &Tensor, host: &mut [E]) -> candle_core::Result<()> {
    macro_rules! to {
        ($type:ty) => {
            host.copy_from_slice(bytemuck::cast_slice(&tensor.to_vec1::<$type>()?))
        };
    }
    match E::DTYPE {
        DType::F32 => to!(f32),
        DType::F64 => to!(f64),
        DType::F16 => to!(f16),
        DType::BF16 => to!(bf16),
        DType::U8 => to!(u8),
    }
    Ok(())
}
