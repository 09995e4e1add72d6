//! The CPU: the fastest CPU backend of the workspace on candle's own storage.

use std::sync::LazyLock;

use bn_core::{BatchNormBackend, HostMemory};
use bn_rayon::RayonBackend;
use candle_core::{Result, Storage};

use super::super::value::{CandleElement, Value};
use super::{Argument, Lent, Site, elsewhere, fresh};

/// The memory of the host, and the rayon pool that the caller is in.
pub(crate) struct Cpu;

impl Site for Cpu {
    type Memory = HostMemory;
    type Read<'a, E: Value> = &'a [E];

    fn backend<T: CandleElement>(&self) -> &dyn BatchNormBackend<T, Memory = HostMemory> {
        static BACKEND: LazyLock<RayonBackend> = LazyLock::new(RayonBackend::new);
        &*BACKEND
    }

    /// Zeros, which cost no pass: the system hands out no other memory.
    fn fresh<E: Value>(&self, len: usize) -> Result<Vec<E>> {
        self.zeros(len)
    }

    fn zeros<E: Value>(&self, len: usize) -> Result<Vec<E>> {
        Ok(fresh::zeros(len))
    }

    fn read<'a, E: Value>(&'a self, argument: Argument<'a>) -> Result<&'a [E]> {
        match argument.storage {
            Lent::Cpu(storage) => Ok(&E::cpu_storage_as_slice(storage)?[argument.range()]),
            Lent::Cuda(_) => Err(elsewhere()),
        }
    }

    fn copy<E: Value>(&self, argument: Argument<'_>) -> Result<Vec<E>> {
        Ok(self.read(argument)?.to_vec())
    }

    fn keep<E: Value>(&self, values: Vec<E>) -> Result<Storage> {
        Ok(Storage::Cpu(E::to_cpu_storage_owned(values)))
    }
}
