//! Memory of the emulated device: poisoned, and guarded on both sides.

use std::alloc::{self, Layout};

/// As CUDA aligns allocations.
const ALIGNMENT: usize = 256;
/// Bytes before and behind, as many as a warp's widest access.
const GUARD: usize = 512;
/// What guards and fresh memory are full of: a NaN in every type.
const POISON: u8 = 0xFF;

/// An allocation.
#[derive(Debug)]
pub struct Block {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: the block owns its memory, and hands out no reference to it.
unsafe impl Send for Block {}
// SAFETY: as above; what lies in it is reached by address, as the machine's contract orders it.
unsafe impl Sync for Block {}

impl Block {
    /// `None` where there is no memory.
    pub(crate) fn new(bytes: usize) -> Option<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the layout has guards, so it is not empty.
        let base = unsafe { alloc::alloc(layout) };
        if base.is_null() {
            return None;
        }
        // SAFETY: the allocation is as large as its layout.
        unsafe { base.write_bytes(POISON, layout.size()) };
        Some(Self { base, bytes })
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(2 * GUARD)?, ALIGNMENT).ok()
    }

    pub(crate) fn address(&self) -> u64 {
        // SAFETY: the guard lies within the allocation.
        unsafe { self.base.add(GUARD) as u64 }
    }

    fn guards_hold(&self) -> bool {
        let guard = |start: usize| {
            // SAFETY: both guards lie within the allocation, which is initialised.
            let bytes = unsafe { core::slice::from_raw_parts(self.base.add(start), GUARD) };
            bytes.iter().all(|&byte| byte == POISON)
        };
        guard(0) && guard(GUARD + self.bytes)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let holds = self.guards_hold();
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated with this layout, and nobody has it any more.
            unsafe { alloc::dealloc(self.base, layout) };
        }
        if !std::thread::panicking() {
            assert!(holds, "a kernel wrote outside a buffer of {} bytes", self.bytes);
        }
    }
}
