//! The same loops in AVX2, and with stores that bypass the cache.
//!
//! 256-bit vectors fill a line in two stores, which the write-combining buffer joins; wider ones do
//! not move more bytes.

use std::arch::x86_64::{
    __m256, _mm_sfence, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_stream_ps,
};

use super::kernels::{self, Part, triad_of};

const LANES: usize = 8;

/// A second output reads the same inputs again; by blocks of this many floats they are in the cache.
const BLOCK: usize = 2048;

/// The proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let is_there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        is_there.then_some(Self(()))
    }

    /// Moves a part with the stores that the compiler chooses.
    pub(super) fn ordinary(self, part: &mut Part<'_>) {
        // SAFETY: `self` exists only where AVX2 and FMA were detected.
        unsafe { ordinary(part) }
    }

    /// Moves a part past the cache.
    pub(super) fn streaming(self, part: &mut Part<'_>) {
        // SAFETY: `self` exists only where AVX2 and FMA were detected.
        unsafe { streaming(part) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn ordinary(part: &mut Part<'_>) {
    kernels::run(part);
}

#[target_feature(enable = "avx2,fma")]
fn streaming(part: &mut Part<'_>) {
    let [a, b] = part.reads;
    let three = _mm256_set1_ps(3.0);
    let triad = |index| _mm256_fmadd_ps(load(b, index), three, load(a, index));
    for start in (0..a.len()).step_by(BLOCK) {
        let end = a.len().min(start + BLOCK);
        for written in part.writes.iter_mut().take(part.traffic.writes) {
            let to = &mut written[start..end];
            match part.traffic.reads {
                1 => fill(to, |i| load(a, start + i), |i| a[start + i]),
                _ => fill(to, |i| triad(start + i), |i| triad_of(a[start + i], b[start + i])),
            }
        }
    }
    // Makes the stores visible in order, before another thread is told that they are done.
    _mm_sfence();
}

/// Eight floats where a streaming store can put them.
#[repr(C, align(32))]
struct Vector([f32; LANES]);

/// Writes each value of `to`: whole vectors past the cache, what does not fill one as it is.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fill(to: &mut [f32], vector: impl Fn(usize) -> __m256, value: impl Fn(usize) -> f32) {
    // SAFETY: a `Vector` is eight floats without padding, and any eight floats are one.
    let (head, body, tail) = unsafe { to.align_to_mut::<Vector>() };
    for (index, to) in head.iter_mut().enumerate() {
        *to = value(index);
    }
    for (index, to) in body.iter_mut().enumerate() {
        let value = vector(head.len() + index * LANES);
        // SAFETY: a `Vector` is 32 bytes, aligned to 32 bytes.
        unsafe { _mm256_stream_ps(to.0.as_mut_ptr(), value) }
    }
    let start = head.len() + body.len() * LANES;
    for (index, to) in tail.iter_mut().enumerate() {
        *to = value(start + index);
    }
}

/// The eight values from `index`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(from: &[f32], index: usize) -> __m256 {
    let from = &from[index..index + LANES];
    // SAFETY: `from` is eight floats; the load needs no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}
