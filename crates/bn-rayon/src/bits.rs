//! Activation bits, written or read vector by vector though a vector may begin within a byte.

use crate::simd::{Vector, first_lanes};

/// Bits of consecutive values.
#[derive(Clone, Copy)]
pub(crate) struct BitStream {
    next: *mut u8,
    /// Bits of a byte that is not yet whole, or of one that is not yet used up; `held` of them.
    pending: u32,
    held: usize,
}

impl Default for BitStream {
    /// No bits.
    #[inline(always)]
    fn default() -> Self {
        Self::new(core::ptr::null_mut())
    }
}

impl BitStream {
    /// From a byte on; null where there are no bits.
    #[inline(always)]
    pub(crate) const fn new(next: *mut u8) -> Self {
        Self { next, pending: 0, held: 0 }
    }

    #[inline(always)]
    pub(crate) const fn is_some(&self) -> bool {
        !self.next.is_null()
    }

    /// Appends the bits of a vector, or of its first `count` lanes.
    ///
    /// # Safety
    ///
    /// The bytes that become whole can be written.
    #[inline(always)]
    pub(crate) unsafe fn push<V: Vector>(&mut self, mask: u32, count: usize) {
        self.pending |= (mask & first_lanes(count)) << self.held;
        let bytes = if count == V::LANES { V::LANES / 8 } else { (self.held + count) / 8 };
        for i in 0..bytes {
            // SAFETY: the caller's.
            unsafe { self.next.add(i).write((self.pending >> (8 * i)) as u8) };
        }
        self.next = self.next.wrapping_add(bytes);
        self.pending >>= 8 * bytes;
        self.held = self.held + count - 8 * bytes;
    }

    /// Fills the last byte with zeros, where it is not whole.
    ///
    /// # Safety
    ///
    /// It can be written, and no bits follow.
    #[inline(always)]
    pub(crate) unsafe fn end(&mut self) {
        if self.held > 0 {
            // SAFETY: the caller's.
            unsafe { self.next.write(self.pending as u8) };
        }
        *self = Self::default();
    }

    /// Takes the bits of a vector, or of its first `count` lanes.
    ///
    /// # Safety
    ///
    /// The bytes up to the last of these bits can be read.
    #[inline(always)]
    pub(crate) unsafe fn pull<V: Vector>(&mut self, count: usize) -> u32 {
        let whole = count == V::LANES;
        let bytes = if whole { V::LANES / 8 } else { count.saturating_sub(self.held).div_ceil(8) };
        for i in 0..bytes {
            // SAFETY: the caller's; with less than a byte held, a whole vector needs all of them.
            let byte = unsafe { self.next.add(i).read() };
            self.pending |= u32::from(byte) << (self.held + 8 * i);
        }
        let mask = self.pending & first_lanes(count);
        self.next = self.next.wrapping_add(bytes);
        self.pending >>= count;
        self.held = self.held + 8 * bytes - count;
        mask
    }
}
