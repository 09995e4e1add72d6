//! Buffers that several threads read and write at once, each its own part.

use bn_core::{InOut, Scalar};

/// A buffer behind a raw pointer, so that in place and out of place are the same code.
///
/// # Contract
///
/// Whoever makes one keeps the borrow it was made from alive and otherwise unused while it is in use,
/// and gives each part of an output to one tile at a time; see [`crate::tile`].
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: the contract above: tiles write disjoint parts, and nobody reads what another tile writes
// before the threads have joined.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: the same.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T: Scalar> Shared<T> {
    /// A buffer to read only.
    pub(crate) fn reading(slice: &[T]) -> Self {
        Self(slice.as_ptr().cast_mut())
    }

    /// A buffer to write.
    pub(crate) fn writing(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// Input and output.
    pub(crate) fn pair(io: InOut<'_, [T]>) -> (Self, Self) {
        match io {
            InOut::Separate { input, output } => (Self::reading(input), Self::writing(output)),
            InOut::InPlace(buffer) => {
                let both = Self::writing(buffer);
                (both, both)
            }
        }
    }

    /// The same buffer as values of another type of the same size.
    pub(crate) fn cast<U: Scalar>(self) -> Shared<U> {
        assert_eq!(size_of::<T>(), size_of::<U>(), "a buffer has one element type");
        Shared(self.0.cast())
    }

    /// The buffer from a value on.
    pub(crate) fn skip(self, values: usize) -> Self {
        Self(self.at(values))
    }

    /// The address of a value.
    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }

    /// Reads a value.
    ///
    /// # Safety
    ///
    /// The index is in the buffer, and nobody writes there now.
    #[inline(always)]
    pub(crate) unsafe fn get(self, index: usize) -> T {
        // SAFETY: the caller's.
        unsafe { self.at(index).read() }
    }

    /// Writes a value.
    ///
    /// # Safety
    ///
    /// The index is in the buffer, which may be written, and nobody else uses it now.
    #[inline(always)]
    pub(crate) unsafe fn set(self, index: usize, value: T) {
        // SAFETY: the caller's.
        unsafe { self.at(index).write(value) }
    }
}
