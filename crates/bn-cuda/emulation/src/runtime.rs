//! The state that kernels see: indices, what lanes hand to each other, and the way to the scheduler.

use core::ffi::{c_uint, c_ushort};

use bn_cuda::Geometry;
use half::{bf16, f16};

use crate::copies;

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
    pub(crate) rank: c_uint,
    cluster_size: c_uint,
    memories: *const *mut f64,
    pub(crate) wait: extern "C" fn(c_uint),
    pub(crate) handed: *mut [u64; 2],
    pub(crate) exchanges: *mut c_uint,
    copy: extern "C" fn(*mut u8, *const u8, c_uint),
    commit: extern "C" fn(),
    arrive: extern "C" fn(c_uint),
    half_to_float: extern "C" fn(c_ushort) -> f32,
    float_to_half: extern "C" fn(f32) -> c_ushort,
    float_to_bfloat: extern "C" fn(f32) -> c_ushort,
}

impl Emulation {
    /// The state of a cluster before its first thread runs; the scheduler sets what differs between threads.
    pub(crate) fn new(
        geometry: Geometry,
        memories: &[*mut f64],
        wait: extern "C" fn(c_uint),
    ) -> Self {
        Self {
            thread: Index::default(),
            block: Index::default(),
            block_size: Index { x: geometry.threads },
            grid_size: Index { x: geometry.blocks },
            rank: 0,
            cluster_size: geometry.cluster,
            memories: memories.as_ptr(),
            wait,
            handed: core::ptr::null_mut(),
            exchanges: core::ptr::null_mut(),
            copy: copies::copy,
            commit: copies::commit,
            arrive: copies::arrive,
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
