//! The system's allocator, with the peak of what it has given out.
//!
//! It hands on a request for zeros as one. An allocator that does not, and fills them in itself, adds a pass
//! over each tensor of zeros, and all its pages are in place before anybody writes: that took three
//! quarters of the time that was to be measured here.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes that are given out.
pub(crate) struct Heap {
    current: AtomicUsize,
    peak: AtomicUsize,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self { current: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// Lets the peak begin anew, from the bytes that are given out now, and says how many these are.
    pub(crate) fn reset_peak(&self) -> usize {
        let current = self.current.load(Relaxed);
        self.peak.store(current, Relaxed);
        current
    }

    /// The most bytes that were given out at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    fn took(&self, pointer: *mut u8, bytes: usize) -> *mut u8 {
        if !pointer.is_null() {
            let current = self.current.fetch_add(bytes, Relaxed) + bytes;
            self.peak.fetch_max(current, Relaxed);
        }
        pointer
    }

    fn gave_back(&self, bytes: usize) {
        self.current.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came, and the counters allocate nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one asked for here.
        self.took(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one asked for here.
        self.took(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller has the pointer from this allocator, which has it from the system's.
        unsafe { System.dealloc(pointer, layout) };
        self.gave_back(layout.size());
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller has the pointer from this allocator, which has it from the system's.
        let moved = self.took(unsafe { System.realloc(pointer, layout, size) }, size);
        if !moved.is_null() {
            self.gave_back(layout.size());
        }
        moved
    }
}
