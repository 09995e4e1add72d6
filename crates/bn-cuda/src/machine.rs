//! Where kernels run: memory, copies and launches, and nothing of batch normalisation.

use core::ffi::c_void;

use bn_core::{Device, Error};

use crate::kernel::{Geometry, Kernel};

/// A device behind its driver, or an emulation of one: all that the backend asks of it.
///
/// Work is queued in order: each call acts as if everything queued before it were done. Only
/// [`copy_out`](Machine::copy_out) and [`copy_in`](Machine::copy_in) wait.
///
/// # Safety
///
/// A block must stay at its address, which is a multiple of 256, and hold the bytes that were asked for
/// until it is dropped; work queued before the drop may still use it. [`launch`](Machine::launch) must run
/// the kernel of that name as compiled from this crate's sources, with the arguments it was given.
pub unsafe trait Machine: Send + Sync + 'static {
    /// Memory on the device, freed when it is dropped.
    type Block: Send + Sync;

    /// What it is, for people to read.
    fn device(&self) -> Device;

    /// Whether blocks run in clusters of [`MOST_BLOCKS_OF_CLUSTER`](crate::MOST_BLOCKS_OF_CLUSTER), with
    /// [`MOST_SHARED_BYTES`](crate::MOST_SHARED_BYTES) for each.
    fn has_clusters(&self) -> bool;

    /// A new block of at least `bytes` bytes, which is not 0.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or [`Error::Device`] where the device refuses.
    fn allocate(&self, bytes: usize) -> Result<Self::Block, Error>;

    /// Where a block lies on the device.
    fn address(block: &Self::Block) -> u64;

    /// Fills `bytes` bytes at `address` with zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Safety
    ///
    /// They must lie in a block, and nothing else may use them before this is done.
    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), Error>;

    /// Copies bytes of the host to `to`, and waits.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Safety
    ///
    /// As many bytes at `to` must lie in a block, and nothing else may use them before this is done.
    unsafe fn copy_in(&self, from: &[u8], to: u64) -> Result<(), Error>;

    /// Copies bytes at `from` to the host, and waits.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Safety
    ///
    /// As many bytes at `from` must lie in a block.
    unsafe fn copy_out(&self, from: u64, to: &mut [u8]) -> Result<(), Error>;

    /// Copies `bytes` bytes on the device.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Safety
    ///
    /// Both ranges must lie in blocks and not overlap, and nothing else may use them before this is done.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error>;

    /// Queues a kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    ///
    /// # Safety
    ///
    /// `arguments` must point to the struct that the kernel takes; the kernel, run with this geometry and
    /// these arguments, must stay within blocks.
    unsafe fn launch(
        &self,
        kernel: Kernel,
        geometry: Geometry,
        arguments: *const c_void,
    ) -> Result<(), Error>;
}
