//! Where buffers live: the host's slices, a device's buffers, another library's tensors.

use core::borrow::BorrowMut;

use crate::{Error, Scalar};

/// A kind of memory that a backend computes in.
///
/// A CPU backend works on slices ([`HostMemory`]); a device backend names its own buffer type, so that
/// nothing is copied between two calls. A buffer type is a newtype of its backend's, which knows its
/// element type and, where it is a part of something larger, its offset: requests compare lengths and
/// nothing else. The four required methods exist for the few small values that travel
/// between host and device (statistics, parameters) and for [`Staged`](crate::Staged), which runs a
/// device backend on host data.
pub trait Memory: Send + Sync {
    /// A buffer that an operation reads or writes; used behind a reference.
    type Buffer<E: Scalar>: ?Sized;

    /// A buffer that owns its memory.
    type Owned<E: Scalar>: BorrowMut<Self::Buffer<E>>;

    /// The number of values in `buffer`.
    fn len<E: Scalar>(buffer: &Self::Buffer<E>) -> usize;

    /// A new buffer of `len` zeros.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or [`Error::Device`] where the device refuses.
    fn alloc<E: Scalar>(&self, len: usize) -> Result<Self::Owned<E>, Error>;

    /// Copies `from` to the host. Both have the same length. Waits for the work that writes `from`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the device fails.
    fn read<E: Scalar>(&self, from: &Self::Buffer<E>, to: &mut [E]) -> Result<(), Error>;

    /// Copies `from` from the host. Both have the same length.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the device fails.
    fn write<E: Scalar>(&self, from: &[E], to: &mut Self::Buffer<E>) -> Result<(), Error>;

    /// Copies a whole buffer to the host.
    ///
    /// # Errors
    ///
    /// As [`Memory::read`], and [`Error::OutOfMemory`].
    fn download<E: Scalar>(&self, from: &Self::Buffer<E>) -> Result<Vec<E>, Error> {
        let mut host = HostMemory.alloc(Self::len(from))?;
        self.read(from, &mut host)?;
        Ok(host)
    }

    /// Copies a host slice into a new buffer.
    ///
    /// # Errors
    ///
    /// As [`Memory::alloc`] and [`Memory::write`].
    fn upload<E: Scalar>(&self, from: &[E]) -> Result<Self::Owned<E>, Error> {
        let mut owned = self.alloc(from.len())?;
        self.write(from, owned.borrow_mut())?;
        Ok(owned)
    }
}

/// The host's own memory: buffers are slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostMemory;

impl Memory for HostMemory {
    type Buffer<E: Scalar> = [E];
    type Owned<E: Scalar> = Vec<E>;

    fn len<E: Scalar>(buffer: &[E]) -> usize {
        buffer.len()
    }

    fn alloc<E: Scalar>(&self, len: usize) -> Result<Vec<E>, Error> {
        let mut buffer = Vec::new();
        let bytes = len.saturating_mul(size_of::<E>());
        buffer.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes })?;
        buffer.resize(len, E::default());
        Ok(buffer)
    }

    fn read<E: Scalar>(&self, from: &[E], to: &mut [E]) -> Result<(), Error> {
        to.copy_from_slice(from);
        Ok(())
    }

    fn write<E: Scalar>(&self, from: &[E], to: &mut [E]) -> Result<(), Error> {
        to.copy_from_slice(from);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_that_cannot_be_had_is_an_error() {
        assert!(matches!(
            HostMemory.alloc::<f64>(isize::MAX as usize / 8),
            Err(Error::OutOfMemory { .. })
        ));
    }
}
