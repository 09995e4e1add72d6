//! AVX2 with FMA and F16C: two registers to a vector.

use core::arch::x86_64::*;

use super::{Eight, Simd, Vector, first_lanes};
use crate::tuning::Hint;

/// The proof that AVX2, FMA and F16C are there.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    ///
    /// The CPU has AVX2, FMA and F16C.
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct F32([__m256; 2]);

#[derive(Clone, Copy)]
pub(crate) struct F64([__m256d; 2]);

/// Wraps intrinsics whose only requirement is the instruction set.
macro_rules! op {
    ($intrinsic:expr) => {{
        // SAFETY: a value of this module's types exists only where `Avx2` has proved the CPU.
        unsafe { $intrinsic }
    }};
}

impl Simd for Avx2 {
    type F32 = F32;
    type F64 = F64;

    #[inline(always)]
    fn fence(self) {
        op!(_mm_sfence());
    }

    #[inline(always)]
    fn prefetch_into(self, hint: Hint, at: *const u8) {
        match hint {
            Hint::First => self.prefetch(at),
            Hint::Second => op!(_mm_prefetch::<_MM_HINT_T1>(at.cast())),
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T0>(at.cast()));
    }

    #[inline(always)]
    unsafe fn load_wide(self, from: *const f32) -> F64 {
        // SAFETY: the caller lets 8 values be read.
        widen(op!(_mm256_loadu_ps(from)))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F32 {
        // SAFETY: the caller lets 16 values be read.
        let bits = op!(_mm256_loadu_si256(from.cast()));
        op!(F32([
            _mm256_cvtph_ps(_mm256_castsi256_si128(bits)),
            _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(bits)),
        ]))
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: F32, to: *mut u16, stream: bool) {
        let halves = op!(_mm256_set_m128i(
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value.0[1]),
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value.0[0]),
        ));
        // SAFETY: as this method's contract, and `new`'s for the instruction set.
        unsafe { put(halves, to, stream) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F32 {
        // SAFETY: the caller lets 16 values be read.
        let bits = op!(_mm256_loadu_si256(from.cast()));
        let widen =
            |half| op!(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half))));
        F32([
            widen(op!(_mm256_castsi256_si128(bits))),
            widen(op!(_mm256_extracti128_si256::<1>(bits))),
        ])
    }

    #[inline(always)]
    unsafe fn store_bf16(self, value: F32, to: *mut u16, stream: bool) {
        let round = |value: __m256| {
            op!({
                let bits = _mm256_castps_si256(value);
                let upper = _mm256_srli_epi32::<16>(bits);
                let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
                let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
                let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
                _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), quiet, nan)
            })
        };
        // Packing interleaves the 128-bit lanes of both operands; the permutation puts them back.
        let packed = op!(_mm256_packus_epi32(round(value.0[0]), round(value.0[1])));
        let halves = op!(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        // SAFETY: as this method's contract, and `new`'s for the instruction set.
        unsafe { put(halves, to, stream) }
    }
}

/// Stores 16 values of 16 bits.
///
/// # Safety
///
/// As [`Simd::store_f16`], on a CPU with AVX.
#[inline(always)]
unsafe fn put(halves: __m256i, to: *mut u16, stream: bool) {
    if stream {
        // SAFETY: the caller's.
        unsafe { _mm256_stream_si256(to.cast(), halves) }
    } else {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), halves) }
    }
}

/// Lanes of 32 bits, all ones where the bit of the mask is set.
#[inline(always)]
fn lanes32(mask: u32) -> __m256i {
    op!({
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
    })
}

/// Lanes of 64 bits, all ones where the bit of the mask is set.
#[inline(always)]
fn lanes64(mask: u32) -> __m256i {
    op!({
        let bits = _mm256_setr_epi64x(1, 2, 4, 8);
        _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(i64::from(mask)), bits), bits)
    })
}

macro_rules! vector {
    ($vector:ident, $scalar:ty, $lanes:literal, $half:literal, $set1:ident, $load:ident,
     $store:ident, $stream:ident, $load_mask:ident, $store_mask:ident, $add:ident, $sub:ident,
     $mul:ident, $fma:ident, $fnma:ident, $cmp:ident, $and:ident, $movemask:ident, $zero:ident,
     $expand:ident, $cast:ident, $blend:ident) => {
        impl $vector {
            #[inline(always)]
            fn zip(
                self,
                other: Self,
                f: impl Fn(Register<Self>, Register<Self>) -> Register<Self>,
            ) -> Self {
                Self([f(self.0[0], other.0[0]), f(self.0[1], other.0[1])])
            }
        }

        impl Vector for $vector {
            type Scalar = $scalar;
            type Simd = Avx2;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Avx2, value: $scalar) -> Self {
                op!(Self([$set1(value); 2]))
            }
            #[inline(always)]
            unsafe fn load(_: Avx2, from: *const $scalar) -> Self {
                // SAFETY: the caller lets all lanes be read.
                op!(Self([$load(from), $load(from.add($half))]))
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: the caller lets all lanes be written.
                op!($store(to, self.0[0]));
                // SAFETY: the same.
                op!($store(to.add($half), self.0[1]));
            }
            #[inline(always)]
            unsafe fn stream(self, to: *mut $scalar) {
                // SAFETY: the caller lets all lanes be written, aligned, and fences.
                op!($stream(to, self.0[0]));
                // SAFETY: the same.
                op!($stream(to.add($half), self.0[1]));
            }
            #[inline(always)]
            unsafe fn load_first(_: Avx2, from: *const $scalar, count: usize) -> Self {
                let mask = first_lanes(count);
                // SAFETY: the caller lets the lanes of the mask be read; others are not touched.
                op!(Self([
                    $load_mask(from, $expand(mask)),
                    $load_mask(from.wrapping_add($half), $expand(mask >> $half)),
                ]))
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $scalar, count: usize) {
                let mask = first_lanes(count);
                // SAFETY: the caller lets the lanes of the mask be written; others are not touched.
                op!($store_mask(to, $expand(mask), self.0[0]));
                // SAFETY: the same.
                op!($store_mask(to.wrapping_add($half), $expand(mask >> $half), self.0[1]));
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.zip(other, |a, b| op!($add(a, b)))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.zip(other, |a, b| op!($sub(a, b)))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.zip(other, |a, b| op!($mul(a, b)))
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                op!(Self([
                    $fma(self.0[0], factor.0[0], addend.0[0]),
                    $fma(self.0[1], factor.0[1], addend.0[1]),
                ]))
            }
            #[inline(always)]
            fn mul_sub_from(self, factor: Self, minuend: Self) -> Self {
                op!(Self([
                    $fnma(self.0[0], factor.0[0], minuend.0[0]),
                    $fnma(self.0[1], factor.0[1], minuend.0[1]),
                ]))
            }
            #[inline(always)]
            fn relu(self) -> Self {
                self.zip(self, |a, _| op!($and(a, $cmp::<_CMP_NLE_UQ>(a, $zero()))))
            }
            #[inline(always)]
            fn not_below(self, threshold: Self) -> u32 {
                let half = |i: usize| {
                    op!($movemask($cmp::<_CMP_NLE_UQ>(self.0[i], threshold.0[i]))) as u32
                };
                half(0) | half(1) << $half
            }
            #[inline(always)]
            fn select(self, other: Self, mask: u32) -> Self {
                op!(Self([
                    $blend(self.0[0], other.0[0], $cast($expand(mask))),
                    $blend(self.0[1], other.0[1], $cast($expand(mask >> $half))),
                ]))
            }
            #[inline(always)]
            fn keep(self, mask: u32) -> Self {
                op!(Self([
                    $and(self.0[0], $cast($expand(mask))),
                    $and(self.0[1], $cast($expand(mask >> $half))),
                ]))
            }
            #[inline(always)]
            fn pick(self, _: Avx2, places: [u8; 16]) -> Self {
                self.picked(places)
            }
            #[inline(always)]
            fn fold(self) -> F64 {
                self.folded()
            }
            #[inline(always)]
            fn widen(self) -> [F64; 2] {
                self.widened()
            }
        }
    };
}

/// The register that a vector is made of.
type Register<V> = <V as Registers>::Register;

trait Registers {
    type Register: Copy;
}

impl Registers for F32 {
    type Register = __m256;
}

impl Registers for F64 {
    type Register = __m256d;
}

vector!(
    F32,
    f32,
    16,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_stream_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_cmp_ps,
    _mm256_and_ps,
    _mm256_movemask_ps,
    _mm256_setzero_ps,
    lanes32,
    _mm256_castsi256_ps,
    _mm256_blendv_ps
);
vector!(
    F64,
    f64,
    8,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_stream_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_fmadd_pd,
    _mm256_fnmadd_pd,
    _mm256_cmp_pd,
    _mm256_and_pd,
    _mm256_movemask_pd,
    _mm256_setzero_pd,
    lanes64,
    _mm256_castsi256_pd,
    _mm256_blendv_pd
);

/// Eight lanes as `f64`.
#[inline(always)]
fn widen(half: __m256) -> F64 {
    op!(F64([
        _mm256_cvtps_pd(_mm256_castps256_ps128(half)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(half)),
    ]))
}

impl F32 {
    #[inline(always)]
    fn picked(self, places: [u8; 16]) -> Self {
        let half = |places: __m128i| {
            let places = op!(_mm256_cvtepu8_epi32(places));
            let [low, high] = self.0.map(|half| op!(_mm256_permutevar8x32_ps(half, places)));
            // Bit 3 of a place, where a sign is, says in which half the lane is.
            op!(_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places))))
        };
        // SAFETY: sixteen bytes.
        let places = op!(_mm_loadu_si128(places.as_ptr().cast()));
        Self([half(places), half(op!(_mm_srli_si128::<8>(places)))])
    }

    #[inline(always)]
    fn folded(self) -> F64 {
        widen(op!(_mm256_add_ps(self.0[0], self.0[1])))
    }

    #[inline(always)]
    fn widened(self) -> [F64; 2] {
        self.0.map(widen)
    }
}

impl F64 {
    #[inline(always)]
    fn picked(self, places: [u8; 16]) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: eight lanes.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let picked: [f64; 8] = core::array::from_fn(|i| lanes[usize::from(places[i] & 7)]);
        // SAFETY: eight lanes.
        unsafe { Self::load(Avx2(()), picked.as_ptr()) }
    }

    #[inline(always)]
    fn folded(self) -> Self {
        self
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        [self, op!(Self([_mm256_setzero_pd(); 2]))]
    }
}

impl Eight for F64 {
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| op!(_mm256_div_pd(a, b)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        op!(Self([_mm256_sqrt_pd(self.0[0]), _mm256_sqrt_pd(self.0[1])]))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.zip(self, |a, _| op!(_mm256_andnot_pd(_mm256_set1_pd(-0.0), a)))
    }

    #[inline(always)]
    fn totals([a, b, c, d, e, f, g, h]: [Self; 8]) -> Self {
        // Halves are registers; then quarters, two vectors at a time; then lanes.
        op!(Self([
            _mm256_hadd_pd(quarters(a, c), quarters(b, d)),
            _mm256_hadd_pd(quarters(e, g), quarters(f, h)),
        ]))
    }

    #[inline(always)]
    unsafe fn store_narrow(self, to: *mut f32) {
        // SAFETY: the caller lets 8 values be written.
        op!(_mm_storeu_ps(to, _mm256_cvtpd_ps(self.0[0])));
        // SAFETY: the same.
        op!(_mm_storeu_ps(to.add(4), _mm256_cvtpd_ps(self.0[1])));
    }
}

/// The quarters of two vectors added: two lanes of the first, two of the other.
#[inline(always)]
fn quarters(one: F64, other: F64) -> __m256d {
    op!({
        let one = _mm256_add_pd(one.0[0], one.0[1]);
        let other = _mm256_add_pd(other.0[0], other.0[1]);
        _mm256_add_pd(
            _mm256_permute2f128_pd::<0x20>(one, other),
            _mm256_permute2f128_pd::<0x31>(one, other),
        )
    })
}
