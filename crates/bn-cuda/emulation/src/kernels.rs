//! The compiled kernels: as they are, and with an error planted.

use core::ffi::{CStr, c_char, c_uint, c_void};
use std::ffi::CString;

use crate::machine::Planted;
use crate::runtime::Emulation;

type Run = unsafe extern "C" fn(*mut Emulation, c_uint, *const c_void);

/// One compilation of all kernels.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) run: Run,
    shared: unsafe extern "C" fn() -> *mut f64,
    size: unsafe extern "C" fn(*const c_char) -> usize,
}

/// Doubles of shared memory, as the build script has it.
const SHARED: usize = (48 << 10) / 8;

macro_rules! variant {
    ($run:ident, $shared:ident, $size:ident) => {{
        unsafe extern "C" {
            fn $run(state: *mut Emulation, kernel: c_uint, arguments: *const c_void);
            fn $shared() -> *mut f64;
            fn $size(of: *const c_char) -> usize;
        }
        Variant { run: $run, shared: $shared, size: $size }
    }};
}

impl Variant {
    pub(crate) fn of(planted: Planted) -> Self {
        match planted {
            Planted::Nothing => variant!(plain_run, plain_shared, plain_size),
            Planted::NoBarrier => variant!(no_barrier_run, no_barrier_shared, no_barrier_size),
            Planted::LongTail => variant!(long_tail_run, long_tail_shared, long_tail_size),
        }
    }

    /// The shared memory of the block that runs in this thread of the operating system, for the time of
    /// `visit`.
    pub(crate) fn with_shared<R>(self, visit: impl FnOnce(&mut [f64]) -> R) -> R {
        // SAFETY: the function returns the start of this thread's array of SHARED doubles, which no
        // kernel uses now: between two turns none runs.
        visit(unsafe { core::slice::from_raw_parts_mut((self.shared)(), SHARED) })
    }

    pub(crate) fn size_of(self, name: &str) -> usize {
        let name = CString::new(name).unwrap_or_default();
        let name: &CStr = &name;
        // SAFETY: the function reads the string, which ends with a zero.
        unsafe { (self.size)(name.as_ptr()) }
    }
}
