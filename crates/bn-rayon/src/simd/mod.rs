//! Vectors of a fixed, virtual width: the algorithm is written once over [`Simd`], and one thin file
//! per instruction set says what its operations are.
//!
//! A vector is always 16 lanes of `f32` or 8 of `f64`. AVX-512 holds one in a register, AVX2 in two,
//! NEON in four, the portable level in an array. So every level adds the same values in the same
//! order, and the levels with fused multiply-add give the same bits. The portable level multiplies
//! and adds apart, because a fused multiply-add without an instruction for it is a library call for
//! each lane; its results differ in the last place.
//!
//! `pulp` was considered: its vectors have the width of the register, and it has neither stores that
//! bypass the cache nor the 16-bit conversions, so the parts that needed care would have stayed here.

mod access;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod level;
mod portable;

use crate::tuning::Hint;
pub(crate) use access::{Access, Wide};
pub(crate) use level::Kernel;
pub use level::Level;

/// A number that lanes hold.
pub(crate) trait Real: bn_core::Scalar + PartialOrd {
    /// Rounds an `f64`.
    fn of(value: f64) -> Self;

    /// Stores the first `count` of eight numbers, rounded.
    ///
    /// # Safety
    ///
    /// `count` values can be written at `to`.
    unsafe fn put<V: Eight>(values: V, to: *mut Self, count: usize);
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    unsafe fn put<V: Eight>(values: V, to: *mut Self, count: usize) {
        if count == V::LANES {
            // SAFETY: the caller's.
            return unsafe { values.store_narrow(to) };
        }
        let mut narrow = [0.0; 8];
        // SAFETY: the array has 8 places.
        unsafe { values.store_narrow(narrow.as_mut_ptr()) };
        for (i, &value) in narrow.iter().enumerate().take(count) {
            // SAFETY: the caller lets the first `count` be written.
            unsafe { to.add(i).write(value) };
        }
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    unsafe fn put<V: Eight>(values: V, to: *mut Self, count: usize) {
        if count == V::LANES {
            // SAFETY: the caller's.
            unsafe { values.store(to) }
        } else {
            // SAFETY: the caller's.
            unsafe { values.store_first(to, count) }
        }
    }
}

/// The proof that an instruction set is there, and what it does that has no vector operand.
///
/// Made only by [`Level::run`], inside a function compiled for that instruction set. A vector is made
/// only from such a proof, so the methods of a vector need none.
pub(crate) trait Simd: Copy {
    /// Whether registers hold twenty vectors of sixteen `f32` and what a loop needs beside.
    const MANY_REGISTERS: bool = false;

    /// 16 lanes of `f32`.
    type F32: Vector<Scalar = f32, Simd = Self>;
    /// 8 lanes of `f64`.
    type F64: Vector<Scalar = f64, Simd = Self> + Eight;

    /// Makes stores that bypassed the cache visible before any that follow.
    fn fence(self);

    /// Asks for the line of an address, which need not be one.
    fn prefetch(self, at: *const u8);

    /// The same, into the cache that the hint names.
    fn prefetch_into(self, hint: Hint, at: *const u8);

    /// Loads 8 lanes of `f32` as `f64`.
    ///
    /// # Safety
    ///
    /// 8 values can be read at `from`.
    unsafe fn load_wide(self, from: *const f32) -> Self::F64;

    /// Loads 16 halves.
    ///
    /// # Safety
    ///
    /// 16 values can be read at `from`.
    unsafe fn load_f16(self, from: *const u16) -> Self::F32;

    /// Stores 16 halves, rounded to nearest; past the cache where `stream`.
    ///
    /// # Safety
    ///
    /// 16 values can be written at `to`, which for `stream` is a multiple of 32 bytes.
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16, stream: bool);

    /// Loads 16 bfloat16.
    ///
    /// # Safety
    ///
    /// 16 values can be read at `from`.
    unsafe fn load_bf16(self, from: *const u16) -> Self::F32;

    /// Stores 16 bfloat16, rounded to nearest; past the cache where `stream`.
    ///
    /// # Safety
    ///
    /// 16 values can be written at `to`, which for `stream` is a multiple of 32 bytes.
    unsafe fn store_bf16(self, value: Self::F32, to: *mut u16, stream: bool);

    /// Loads the first `count` of 16 values of 16 bits, zeros behind them.
    ///
    /// # Safety
    ///
    /// `count` values, fewer than 16, can be read at `from`.
    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16, count: usize) -> [u16; 16] {
        let (mut halves, mut at) = ([0; 16], 0);
        for piece in PIECES {
            if count & piece != 0 {
                // SAFETY: the pieces up to here are at most `count`.
                unsafe {
                    halves.as_mut_ptr().add(at).copy_from_nonoverlapping(from.add(at), piece);
                }
                at += piece;
            }
        }
        halves
    }

    /// Stores the first `count` of 16 values of 16 bits.
    ///
    /// # Safety
    ///
    /// `count` values, fewer than 16, can be written at `to`.
    #[inline(always)]
    unsafe fn store_halves(self, halves: [u16; 16], to: *mut u16, count: usize) {
        let mut at = 0;
        for piece in PIECES {
            if count & piece != 0 {
                // SAFETY: the pieces up to here are at most `count`.
                unsafe { to.add(at).copy_from_nonoverlapping(halves.as_ptr().add(at), piece) };
                at += piece;
            }
        }
    }
}

/// Any number below 16 is a sum of these: four copies at most, where one by one there are fifteen.
const PIECES: [usize; 4] = [8, 4, 2, 1];

/// A vector of lanes. Masks are integers, bit i for lane i.
pub(crate) trait Vector: Copy {
    /// What a lane holds.
    type Scalar: Real;
    /// The instruction set.
    type Simd: Simd;
    /// 16 or 8.
    const LANES: usize;

    /// The same value in every lane.
    fn splat(simd: Self::Simd, value: Self::Scalar) -> Self;

    /// Loads all lanes.
    ///
    /// # Safety
    ///
    /// `LANES` values can be read at `from`.
    unsafe fn load(simd: Self::Simd, from: *const Self::Scalar) -> Self;

    /// Stores all lanes.
    ///
    /// # Safety
    ///
    /// `LANES` values can be written at `to`.
    unsafe fn store(self, to: *mut Self::Scalar);

    /// Stores all lanes past the cache.
    ///
    /// # Safety
    ///
    /// `LANES` values can be written at `to`, a multiple of 64 bytes. [`Simd::fence`] comes before
    /// anyone else reads them.
    unsafe fn stream(self, to: *mut Self::Scalar);

    /// Loads the first `count` lanes, zeros in the others.
    ///
    /// # Safety
    ///
    /// `count` values, fewer than `LANES`, can be read at `from`.
    unsafe fn load_first(simd: Self::Simd, from: *const Self::Scalar, count: usize) -> Self;

    /// Stores the first `count` lanes.
    ///
    /// # Safety
    ///
    /// `count` values, fewer than `LANES`, can be written at `to`.
    unsafe fn store_first(self, to: *mut Self::Scalar, count: usize);

    /// self + other
    fn add(self, other: Self) -> Self;
    /// self − other
    fn sub(self, other: Self) -> Self;
    /// self · other
    fn mul(self, other: Self) -> Self;
    /// self · factor + addend
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// minuend − self · factor
    fn mul_sub_from(self, factor: Self, minuend: Self) -> Self;
    /// self where it is above 0 or NaN, +0 elsewhere.
    fn relu(self) -> Self;
    /// The lanes for which self ≤ threshold does not hold, NaN among them.
    fn not_below(self, threshold: Self) -> u32;
    /// other in the lanes of the mask, self elsewhere.
    fn select(self, other: Self, mask: u32) -> Self;
    /// self in the lanes of the mask, +0 elsewhere.
    fn keep(self, mask: u32) -> Self;
    /// In lane i, the lane of self that `places[i]` names.
    fn pick(self, simd: Self::Simd, places: [u8; 16]) -> Self;
    /// Both halves added where there are 16 lanes, as `f64`.
    fn fold(self) -> <Self::Simd as Simd>::F64;
    /// Every lane as `f64`: the lower 8, and the upper 8 where there are 16.
    fn widen(self) -> [<Self::Simd as Simd>::F64; 2];
}

/// What eight numbers of `f64` can do besides, with which statistics are settled. Every result is rounded
/// once, so these are the same bits on every level.
pub(crate) trait Eight: Vector<Scalar = f64> {
    /// self / other
    fn div(self, other: Self) -> Self;
    /// √self
    fn sqrt(self) -> Self;
    /// |self|
    fn abs(self) -> Self;
    /// The [`total`] of each of eight vectors, in the lane of its place.
    fn totals(vectors: [Self; 8]) -> Self;
    /// Stores all lanes rounded to `f32`.
    ///
    /// # Safety
    ///
    /// 8 values can be written at `to`.
    unsafe fn store_narrow(self, to: *mut f32);

    /// The lanes that are NaN.
    #[inline(always)]
    fn is_nan(self) -> u32 {
        self.not_below(self)
    }

    /// The lanes that are NaN or infinite.
    #[inline(always)]
    fn is_not_finite(self) -> u32 {
        self.sub(self).is_nan()
    }
}

/// The lanes below `count`.
pub(crate) const fn first_lanes(count: usize) -> u32 {
    (1 << count) - 1
}

/// Adds the eight lanes of a sum, in a fixed tree.
pub(crate) fn total(lanes: [f64; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
