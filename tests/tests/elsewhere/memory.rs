//! Memory that can only be reached through the contract's own methods, and that may run out.

use core::sync::atomic::{AtomicUsize, Ordering};

use bn_core::{Error, HostMemory, Memory, Scalar};

/// A buffer in that memory. Its values are seen by the backend alone.
pub(crate) struct Buffer<E>(pub(crate) Vec<E>);

/// The memory, with a number of allocations that it still grants.
pub(crate) struct Far {
    left: AtomicUsize,
}

impl Far {
    pub(crate) const fn with(allocations: usize) -> Self {
        Self { left: AtomicUsize::new(allocations) }
    }
}

impl Memory for Far {
    type Buffer<E: Scalar> = Buffer<E>;
    type Owned<E: Scalar> = Buffer<E>;

    fn len<E: Scalar>(buffer: &Buffer<E>) -> usize {
        buffer.0.len()
    }

    fn alloc<E: Scalar>(&self, len: usize) -> Result<Buffer<E>, Error> {
        let bytes = len * size_of::<E>();
        let granted = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok();
        if granted { HostMemory.alloc(len).map(Buffer) } else { Err(Error::OutOfMemory { bytes }) }
    }

    fn read<E: Scalar>(&self, from: &Buffer<E>, to: &mut [E]) -> Result<(), Error> {
        to.copy_from_slice(&from.0);
        Ok(())
    }

    fn write<E: Scalar>(&self, from: &[E], to: &mut Buffer<E>) -> Result<(), Error> {
        to.0.copy_from_slice(from);
        Ok(())
    }
}
