//! Buffers that begin where a cache line begins, as those of tensor libraries do.

use std::ops::{Deref, DerefMut};

use bn_core::Scalar;

/// The bytes of a cache line.
const LINE: usize = 64;

/// A slice of its own whose first value lies at the start of a cache line.
pub(crate) struct Aligned<E> {
    storage: Vec<E>,
    start: usize,
    len: usize,
}

impl<E: Scalar> Aligned<E> {
    /// Zeros, written once so that every page is there.
    pub(crate) fn zeros(len: usize) -> Self {
        Self::from_fn(len, |_| E::default())
    }

    /// A value for each index.
    pub(crate) fn from_fn(len: usize, value: impl FnMut(usize) -> E) -> Self {
        let storage = vec![E::default(); len + LINE / size_of::<E>()];
        let start = storage.as_ptr().align_offset(LINE);
        let mut aligned = Self { storage, start, len };
        let values = (0..len).map(value);
        aligned.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
        aligned
    }
}

impl<E> Deref for Aligned<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.storage[self.start..][..self.len]
    }
}

impl<E> DerefMut for Aligned<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.storage[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_core::bf16;

    #[test]
    fn a_buffer_has_its_length_and_starts_with_a_line() {
        for len in [0, 1, 17, 4096] {
            let floats = Aligned::<f32>::from_fn(len, |index| index as f32);
            assert_eq!((floats.len(), floats.as_ptr().addr() % LINE), (len, 0));
            assert!(floats.iter().enumerate().all(|(index, &value)| value == index as f32));
            assert_eq!(Aligned::<bf16>::zeros(len).as_ptr().addr() % LINE, 0);
        }
    }
}
