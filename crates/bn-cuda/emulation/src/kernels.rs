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
    size: unsafe extern "C" fn(*const c_char) -> usize,
}

macro_rules! variant {
    ($run:ident, $size:ident) => {{
        unsafe extern "C" {
            fn $run(state: *mut Emulation, kernel: c_uint, arguments: *const c_void);
            fn $size(of: *const c_char) -> usize;
        }
        Variant { run: $run, size: $size }
    }};
}

impl Variant {
    pub(crate) fn of(planted: Planted) -> Self {
        match planted {
            Planted::Nothing => variant!(plain_run, plain_size),
            Planted::NoBarrier => variant!(no_barrier_run, no_barrier_size),
            Planted::LongTail => variant!(long_tail_run, long_tail_size),
            Planted::Alone => variant!(alone_run, alone_size),
            Planted::Early => variant!(early_run, early_size),
        }
    }

    pub(crate) fn size_of(self, name: &str) -> usize {
        let name = CString::new(name).unwrap_or_default();
        let name: &CStr = &name;
        // SAFETY: the function reads the string, which ends with a zero.
        unsafe { (self.size)(name.as_ptr()) }
    }
}
