//! Vectors as arrays, for any CPU; and NEON, for which the compiler makes registers of the arrays.
//!
//! NEON is part of every AArch64 target, so the same source compiles to it; what differs is that
//! multiply-add is fused there.

use half::{bf16, f16};

use super::{Eight, Simd, Vector, total};
use crate::tuning::Hint;

/// Arrays of lanes; `FUSED` where the target has a multiply-add instruction for certain.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const FUSED: bool>;

#[derive(Clone, Copy)]
pub(crate) struct F32<const FUSED: bool>([f32; 16]);

#[derive(Clone, Copy)]
pub(crate) struct F64<const FUSED: bool>([f64; 8]);

impl<const FUSED: bool> Simd for Portable<FUSED> {
    type F32 = F32<FUSED>;
    type F64 = F64<FUSED>;

    #[inline(always)]
    fn fence(self) {}

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn prefetch_into(self, _: Hint, _: *const u8) {}

    #[inline(always)]
    unsafe fn load_wide(self, from: *const f32) -> F64<FUSED> {
        // SAFETY: the caller lets 8 values be read.
        F64(unsafe { from.cast::<[f32; 8]>().read_unaligned() }.map(f64::from))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F32<FUSED> {
        // SAFETY: the caller lets 16 values be read.
        let bits = unsafe { from.cast::<[u16; 16]>().read_unaligned() };
        F32(bits.map(|bits| f16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: F32<FUSED>, to: *mut u16, _: bool) {
        let bits = value.0.map(|lane| f16::from_f32(lane).to_bits());
        // SAFETY: the caller lets 16 values be written.
        unsafe { to.cast::<[u16; 16]>().write_unaligned(bits) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F32<FUSED> {
        // SAFETY: the caller lets 16 values be read.
        let bits = unsafe { from.cast::<[u16; 16]>().read_unaligned() };
        F32(bits.map(|bits| bf16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    unsafe fn store_bf16(self, value: F32<FUSED>, to: *mut u16, _: bool) {
        let bits = value.0.map(|lane| bf16::from_f32(lane).to_bits());
        // SAFETY: the caller lets 16 values be written.
        unsafe { to.cast::<[u16; 16]>().write_unaligned(bits) }
    }
}

macro_rules! vector {
    ($vector:ident, $scalar:ty, $lanes:literal) => {
        impl<const FUSED: bool> $vector<FUSED> {
            #[inline(always)]
            fn zip(self, other: Self, f: impl Fn($scalar, $scalar) -> $scalar) -> Self {
                Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
            }
        }

        impl<const FUSED: bool> Vector for $vector<FUSED> {
            type Scalar = $scalar;
            type Simd = Portable<FUSED>;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Self::Simd, value: $scalar) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(_: Self::Simd, from: *const $scalar) -> Self {
                // SAFETY: the caller lets all lanes be read.
                Self(unsafe { from.cast::<[$scalar; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: the caller lets all lanes be written.
                unsafe { to.cast::<[$scalar; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn stream(self, to: *mut $scalar) {
                // SAFETY: the caller's; there is no portable way past the cache.
                unsafe { self.store(to) }
            }
            #[inline(always)]
            unsafe fn load_first(_: Self::Simd, from: *const $scalar, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller lets the first `count` values be read.
                    *lane = unsafe { from.add(i).read() };
                }
                Self(lanes)
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $scalar, count: usize) {
                for (i, &lane) in self.0.iter().enumerate().take(count) {
                    // SAFETY: the caller lets the first `count` values be written.
                    unsafe { to.add(i).write(lane) }
                }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.zip(other, |a, b| a + b)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.zip(other, |a, b| a - b)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.zip(other, |a, b| a * b)
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                if !FUSED {
                    return self.mul(factor).add(addend);
                }
                Self(core::array::from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
            }
            #[inline(always)]
            fn mul_sub_from(self, factor: Self, minuend: Self) -> Self {
                self.zip(self, |a, _| -a).mul_add(factor, minuend)
            }
            #[inline(always)]
            fn relu(self) -> Self {
                self.zip(self, |a, _| if a <= 0.0 { 0.0 } else { a })
            }
            #[inline(always)]
            fn not_below(self, threshold: Self) -> u32 {
                (0..$lanes).fold(0, |mask, i| {
                    mask | u32::from(!matches!(
                        self.0[i].partial_cmp(&threshold.0[i]),
                        Some(core::cmp::Ordering::Less | core::cmp::Ordering::Equal)
                    )) << i
                })
            }
            #[inline(always)]
            fn select(self, other: Self, mask: u32) -> Self {
                Self(core::array::from_fn(|i| [self.0[i], other.0[i]][(mask >> i & 1) as usize]))
            }
            #[inline(always)]
            fn keep(self, mask: u32) -> Self {
                Self(core::array::from_fn(|i| if mask >> i & 1 == 0 { 0.0 } else { self.0[i] }))
            }
            #[inline(always)]
            fn pick(self, _: Self::Simd, places: [u8; 16]) -> Self {
                Self(core::array::from_fn(|i| self.0[usize::from(places[i]) % $lanes]))
            }
            #[inline(always)]
            fn fold(self) -> F64<FUSED> {
                self.folded()
            }
            #[inline(always)]
            fn widen(self) -> [F64<FUSED>; 2] {
                self.widened()
            }
        }
    };
}

vector!(F32, f32, 16);
vector!(F64, f64, 8);

impl<const FUSED: bool> F32<FUSED> {
    #[inline(always)]
    fn folded(self) -> F64<FUSED> {
        F64(core::array::from_fn(|i| f64::from(self.0[i] + self.0[i + 8])))
    }

    #[inline(always)]
    fn widened(self) -> [F64<FUSED>; 2] {
        [0, 8].map(|half| F64(core::array::from_fn(|i| f64::from(self.0[half + i]))))
    }
}

impl<const FUSED: bool> F64<FUSED> {
    #[inline(always)]
    fn folded(self) -> Self {
        self
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        [self, Self([0.0; 8])]
    }
}

impl<const FUSED: bool> Eight for F64<FUSED> {
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(f64::sqrt))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f64::abs))
    }

    #[inline(always)]
    fn totals(vectors: [Self; 8]) -> Self {
        Self(vectors.map(|vector| total(vector.0)))
    }

    #[inline(always)]
    unsafe fn store_narrow(self, to: *mut f32) {
        // SAFETY: the caller lets 8 values be written.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0.map(|lane| lane as f32)) }
    }
}
