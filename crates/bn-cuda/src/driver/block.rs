//! Memory that the driver gave, and its way from and to cudarc's own slices.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use std::sync::Arc;

use bn_core::{Error, Scalar};
use cudarc::driver::{
    CudaSlice, CudaStream, CudaView, DevicePtrMut, DeviceSlice, SyncOnDrop, result,
};

use super::{Driver, failure};
use crate::backend::NAME;
use crate::memory::{Buffer, DeviceMemory};

/// What the driver aligns allocations to, and a [`Machine`](crate::Machine) its blocks.
const ALIGNMENT: u64 = 256;

/// An allocation on a device, freed in the order of the stream that it was taken in; or a part of one that is
/// lent, which its owner frees.
#[derive(Debug)]
pub struct Block {
    pub(super) address: u64,
    stream: Arc<CudaStream>,
    is_lent: bool,
}

impl Block {
    /// An allocation in this stream, which the block then owns.
    pub(super) const fn owned(address: u64, stream: Arc<CudaStream>) -> Self {
        Self { address, stream, is_lent: false }
    }

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
        if self.is_lent {
            return;
        }
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
        driver.check_context(slice.stream())?;
        driver.bind()?;
        let (len, from) = (slice.len(), Arc::clone(slice.stream()));
        // Its stream then waits for the others that used it, and ours for its stream.
        let block = Block::owned(slice.leak(), Arc::clone(&driver.stream));
        driver.follow(&from)?;
        // SAFETY: the address was that of exactly these values, and nobody else owns it any more.
        Ok(unsafe { Buffer::from_block(block, 0, len) })
    }

    /// Gives a buffer back to cudarc without a copy and without a wait: what is queued for it later, in any
    /// stream that cudarc keeps in order, comes after what was queued until now.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the buffer belongs to another context, where it does not begin where its memory
    /// does, or where the device fails.
    pub fn release<E: Scalar>(&self, buffer: Buffer<E, Driver>) -> Result<CudaSlice<E>, Error> {
        let driver = self.machine();
        driver.bind()?;
        let len = buffer.len();
        let (block, start) = buffer.into_block();
        if start != 0 {
            let message = "a part of an allocation was to be released".to_owned();
            return Err(Error::Device { backend: NAME, message });
        }
        driver.check_context(&block.stream)?;
        driver.follow(&block.stream)?;
        // SAFETY: the block holds these values, and gives up its ownership.
        let mut slice = unsafe { driver.stream.upgrade_device_ptr::<E>(block.leak(), len) };
        // Marks this point of the stream as the slice's last write, which other streams wait for.
        drop(slice.device_ptr_mut(&driver.stream).1);
        Ok(slice)
    }

    /// Lends a buffer of cudarc's, or a part of one, to operations that read it where it lies.
    ///
    /// What its stream has queued comes first, and what its stream queues once it is no longer lent comes after
    /// what was queued here until then.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the buffer belongs to another context, or the device fails.
    pub fn lend<'a, E: Scalar>(&'a self, view: CudaView<'a, E>) -> Result<Lent<'a, E>, Error> {
        let driver = self.machine();
        driver.check_context(view.stream())?;
        driver.bind()?;
        let (len, owner) = (view.len(), Arc::clone(view.stream()));
        driver.follow(&owner)?;
        let (address, until_read) = view.view_ptr(&driver.stream);
        let start = address % ALIGNMENT;
        let stream = Arc::clone(&driver.stream);
        let block = Block { address: address - start, stream, is_lent: true };
        // SAFETY: the values lie at the address for as long as the view is borrowed, which `Lent` does not
        // outlive. It hands the buffer out behind a shared reference alone, so nobody can keep it, and
        // a buffer behind one is only read.
        let buffer = unsafe { Buffer::from_block(block, start as usize, len) };
        Ok(Lent { buffer, driver, owner, _until_read: until_read })
    }
}

/// Whether two streams are one queue, so that none has to wait for the other.
fn are_one(one: &CudaStream, other: &CudaStream) -> bool {
    one.cu_stream() == other.cu_stream()
}

impl Driver {
    /// Queues what comes next behind what another stream has queued until now.
    fn follow(&self, other: &CudaStream) -> Result<(), Error> {
        if are_one(&self.stream, other) {
            return Ok(());
        }
        self.stream.join(other).map_err(|error| failure("waiting for a buffer", error))
    }
}

/// A buffer of cudarc's that operations may read.
pub struct Lent<'a, E: Scalar> {
    buffer: Buffer<E, Driver>,
    driver: &'a Driver,
    /// Where the buffer is written and freed.
    owner: Arc<CudaStream>,
    /// Marks, when it is dropped, the point of the stream until which the buffer is read.
    _until_read: SyncOnDrop<'a>,
}

impl<E: Scalar> Deref for Lent<'_, E> {
    type Target = Buffer<E, Driver>;

    fn deref(&self) -> &Self::Target {
        &self.buffer
    }
}

impl<E: Scalar> Drop for Lent<'_, E> {
    fn drop(&mut self) {
        if !are_one(&self.owner, &self.driver.stream) {
            let context = self.owner.context();
            context.record_err(context.bind_to_thread());
            context.record_err(self.owner.join(&self.driver.stream));
        }
    }
}

impl<E: Scalar> fmt::Debug for Lent<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&self.buffer).finish()
    }
}
