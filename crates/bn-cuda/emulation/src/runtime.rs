//! The state that kernels see: indices, what lanes hand to each other, and the way to the scheduler.

use core::ffi::{c_uint, c_ushort};

use half::{bf16, f16};

/// An index of one dimension.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Index {
    pub(crate) x: c_uint,
}

/// The struct of the same name in `include/emulation.h`.
#[repr(C)]
pub(crate) struct Emulation {
    pub(crate) thread: Index,
    pub(crate) block: Index,
    pub(crate) block_size: Index,
    pub(crate) grid_size: Index,
    pub(crate) wait: extern "C" fn(c_uint),
    pub(crate) handed: *mut [u64; 2],
    pub(crate) exchanges: *mut c_uint,
    half_to_float: extern "C" fn(c_ushort) -> f32,
    float_to_half: extern "C" fn(f32) -> c_ushort,
    float_to_bfloat: extern "C" fn(f32) -> c_ushort,
}

impl Emulation {
    /// The state of a block before its first thread runs.
    pub(crate) fn new(block_size: u32, grid_size: u32, wait: extern "C" fn(c_uint)) -> Self {
        Self {
            thread: Index::default(),
            block: Index::default(),
            block_size: Index { x: block_size },
            grid_size: Index { x: grid_size },
            wait,
            // The scheduler sets these for each block.
            handed: core::ptr::null_mut(),
            exchanges: core::ptr::null_mut(),
            half_to_float,
            float_to_half,
            float_to_bfloat,
        }
    }
}

extern "C" fn half_to_float(bits: c_ushort) -> f32 {
    f16::from_bits(bits).to_f32()
}

extern "C" fn float_to_half(value: f32) -> c_ushort {
    f16::from_f32(value).to_bits()
}

extern "C" fn float_to_bfloat(value: f32) -> c_ushort {
    bf16::from_f32(value).to_bits()
}
