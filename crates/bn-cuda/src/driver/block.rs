//! Memory that the driver gave, and its way from and to cudarc's own slices.

use core::mem::ManuallyDrop;
use std::sync::Arc;

use bn_core::{Error, Scalar};
use cudarc::driver::{CudaSlice, CudaStream, result};

use super::{Driver, failure};
use crate::backend::NAME;
use crate::memory::{Buffer, DeviceMemory};

/// An allocation on a device, freed in the order of the stream that it was taken in.
#[derive(Debug)]
pub struct Block {
    pub(super) address: u64,
    pub(super) stream: Arc<CudaStream>,
}

impl Block {
    /// The address, which the caller then owns.
    fn leak(self) -> u64 {
        let block = ManuallyDrop::new(self);
        // SAFETY: the stream is read out once, and the block is never dropped.
        drop(unsafe { core::ptr::read(&raw const block.stream) });
        block.address
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        if context.has_async_alloc() {
            // SAFETY: the address is an allocation that nobody owns any more; work that is queued comes first.
            context
                .record_err(unsafe { result::free_async(self.address, self.stream.cu_stream()) });
        } else {
            context.record_err(self.stream.synchronize());
            // SAFETY: as above, and no work is left.
            context.record_err(unsafe { result::free_sync(self.address) });
        }
    }
}

impl DeviceMemory<Driver> {
    /// Takes over a buffer of cudarc's without a copy; work that is queued for it comes first.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the buffer belongs to another context, or the device fails.
    pub fn adopt<E: Scalar>(&self, slice: CudaSlice<E>) -> Result<Buffer<E, Driver>, Error> {
        let driver = self.machine();
        if slice.context() != driver.stream.context() {
            let message = "a buffer of another context was given".to_owned();
            return Err(Error::Device { backend: NAME, message });
        }
        driver.bind()?;
        let joined = driver.stream.join(slice.stream());
        joined.map_err(|error| failure("waiting for a buffer", error))?;
        let len = slice.len();
        let block = Block { address: slice.leak(), stream: Arc::clone(&driver.stream) };
        // SAFETY: the address was that of exactly these values, and nobody else owns it any more.
        Ok(unsafe { Buffer::from_block(block, 0, len) })
    }

    /// Gives a buffer back to cudarc without a copy, once everything that was queued is done.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where it failed, or where the buffer does not begin where its memory does.
    pub fn release<E: Scalar>(&self, buffer: Buffer<E, Driver>) -> Result<CudaSlice<E>, Error> {
        let driver = self.machine();
        driver.bind()?;
        let done = driver.stream.synchronize();
        done.map_err(|error| failure("waiting for a buffer", error))?;
        let len = buffer.len();
        let (block, start) = buffer.into_block();
        if start != 0 {
            let message = "a part of an allocation was to be released".to_owned();
            return Err(Error::Device { backend: NAME, message });
        }
        // SAFETY: the block holds these values, and gives up its ownership.
        Ok(unsafe { driver.stream.upgrade_device_ptr::<E>(block.leak(), len) })
    }
}
