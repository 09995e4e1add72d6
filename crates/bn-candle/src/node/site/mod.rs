//! Where a node computes: candle's storage there, and the backend whose kernels take it as it lies.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod fresh;

use std::ops::{Deref, Range};

use bn_core::{BatchNormBackend, Memory};
use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, DType, Device, Error, Layout, Result, Shape, Storage, StorageRef,
    Tensor,
};

pub(super) use cpu::Cpu;
#[cfg(feature = "cuda")]
pub(super) use cuda::Cuda;

use super::value::{CandleElement, Value};
use super::{NAME, no_kernels};

/// Where a node computes.
pub(super) trait Site {
    /// The memory of its backend.
    type Memory: Memory;

    /// Values of candle's that are held to be read.
    type Read<'a, E: Value>: Deref<Target = Buffer<Self, E>>
    where
        Self: 'a;

    /// The backend that every operation of the layer runs on.
    fn backend<T: CandleElement>(&self) -> &dyn BatchNormBackend<T, Memory = Self::Memory>;

    /// Memory for an output of so many values, which may hold anything.
    fn fresh<E: Value>(&self, len: usize) -> Result<Owned<Self, E>>;

    /// So many zeros.
    fn zeros<E: Value>(&self, len: usize) -> Result<Owned<Self, E>>;

    /// The values of an argument, which fill their memory without gaps, in the order of memory.
    fn read<'a, E: Value>(&'a self, argument: Argument<'a>) -> Result<Self::Read<'a, E>>;

    /// The values of an argument in memory of their own.
    fn copy<E: Value>(&self, argument: Argument<'_>) -> Result<Owned<Self, E>>;

    /// Values as candle's storage, without a copy.
    fn keep<E: Value>(&self, values: Owned<Self, E>) -> Result<Storage>;
}

/// What an operation of a site's backend reads or writes.
pub(super) type Buffer<S, E> = <<S as Site>::Memory as Memory>::Buffer<E>;

/// A buffer of a site's that owns its memory.
pub(super) type Owned<S, E> = <<S as Site>::Memory as Memory>::Owned<E>;

/// An argument of a node: values that fill a part of a storage without gaps.
#[derive(Clone, Copy)]
pub(super) struct Argument<'a> {
    storage: Lent<'a>,
    start: usize,
    len: usize,
}

impl<'a> From<(&'a CpuStorage, &'a Layout)> for Argument<'a> {
    fn from((storage, at): (&'a CpuStorage, &'a Layout)) -> Self {
        Self::new(Lent::Cpu(storage), at)
    }
}

impl<'a> From<(&'a CudaStorage, &'a Layout)> for Argument<'a> {
    fn from((storage, at): (&'a CudaStorage, &'a Layout)) -> Self {
        Self::new(Lent::Cuda(storage), at)
    }
}

impl<'a> Argument<'a> {
    fn new(storage: Lent<'a>, at: &Layout) -> Self {
        Self { storage, start: at.start_offset(), len: at.shape().elem_count() }
    }

    pub(super) fn dtype(&self) -> DType {
        match self.storage {
            Lent::Cpu(storage) => storage.dtype(),
            Lent::Cuda(storage) => storage.dtype(),
        }
    }

    /// The first half of the values, and the second.
    pub(super) fn halves(self) -> [Self; 2] {
        let len = self.len / 2;
        [0, len].map(|behind| Self { start: self.start + behind, len, ..self })
    }

    /// The first and the one behind the last of the values in their storage.
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// A storage of candle's.
#[derive(Clone, Copy)]
enum Lent<'a> {
    Cpu(&'a CpuStorage),
    Cuda(&'a CudaStorage),
}

/// A tensor whose storage is held to be read.
pub(super) struct Held<'a> {
    storage: StorageRef<'a>,
    at: &'a Layout,
}

impl<'a> Held<'a> {
    pub(super) fn new(tensor: &'a Tensor) -> Self {
        let (storage, at) = tensor.storage_and_layout();
        Self { storage, at }
    }

    pub(super) fn argument(&self) -> Result<Argument<'_>> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok((storage, self.at).into()),
            Storage::Cuda(storage) => Ok((storage, self.at).into()),
            Storage::Metal(_) => Err(elsewhere()),
        }
    }

    /// The values, for operations of a site.
    pub(super) fn read<'s, S: Site, E: Value>(&'s self, site: &'s S) -> Result<S::Read<'s, E>> {
        site.read(self.argument()?)
    }

    /// The values, in memory of their own.
    pub(super) fn copy<S: Site, E: Value>(&self, site: &S) -> Result<Owned<S, E>> {
        site.copy(self.argument()?)
    }
}

/// The answer to a tensor that is not where x is.
fn elsewhere() -> Error {
    Error::msg(format!("{NAME}: all tensors must be on the device of x"))
}

/// An output, which the arguments say to be on the CPU.
pub(super) fn on_cpu((storage, shape): (Storage, Shape)) -> Result<(CpuStorage, Shape)> {
    match storage {
        Storage::Cpu(storage) => Ok((storage, shape)),
        _ => Err(elsewhere()),
    }
}

/// An output, which the arguments say to be on a CUDA device.
pub(super) fn on_cuda((storage, shape): (Storage, Shape)) -> Result<(CudaStorage, Shape)> {
    match storage {
        Storage::Cuda(storage) => Ok((storage, shape)),
        _ => Err(elsewhere()),
    }
}

/// A storage as a tensor that candle takes for a constant.
pub(super) fn constant(storage: Storage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

/// The storage of a tensor that fills its own, copied: for C values.
pub(super) fn owned(tensor: &Tensor) -> Result<Storage> {
    let (storage, at) = tensor.storage_and_layout();
    storage.try_clone(at)
}

/// Refuses a device that the layer has no kernels for.
pub(crate) fn check_device(device: &Device) -> Result<()> {
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(_) if cfg!(feature = "cuda") => Ok(()),
        other => Err(Error::wrap(no_kernels(other.location()))),
    }
}

/// Runs a body with `$site` standing for the site of a device.
macro_rules! with_site {
    ($device:expr, $site:ident => $body:expr) => {
        match $device {
            Device::Cpu => {
                let $site = &Cpu;
                $body
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let $site = &Cuda::of(device)?;
                $body
            }
            other => Err(candle_core::Error::wrap(no_kernels(other.location()))),
        }
    };
}
pub(super) use with_site;
