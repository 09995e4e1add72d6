//! AVX-512 (F, BW, DQ, VL): one register to a vector.

use core::arch::x86_64::*;

use super::{Eight, Simd, Vector, first_lanes};
use crate::tuning::Hint;

/// The proof that AVX-512 F, BW, DQ, VL and F16C are there.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    ///
    /// The CPU has AVX-512 F, BW, DQ and VL, and FMA and F16C.
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct F32(__m512);

#[derive(Clone, Copy)]
pub(crate) struct F64(__m512d);

/// Wraps intrinsics whose only requirement is the instruction set.
macro_rules! op {
    ($intrinsic:expr) => {{
        // SAFETY: a value of this module's types exists only where `Avx512` has proved the CPU.
        unsafe { $intrinsic }
    }};
}

impl Simd for Avx512 {
    const MANY_REGISTERS: bool = true;

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
        op!(F64(_mm512_cvtps_pd(_mm256_loadu_ps(from))))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F32 {
        // SAFETY: the caller lets 16 values be read.
        op!(F32(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))))
    }

    #[inline(always)]
    unsafe fn store_f16(self, value: F32, to: *mut u16, stream: bool) {
        let halves = op!(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value.0));
        // SAFETY: as this method's contract, and `new`'s for the instruction set.
        unsafe { put(halves, to, stream) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F32 {
        // SAFETY: the caller lets 16 values be read.
        let bits = op!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())));
        op!(F32(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))))
    }

    #[inline(always)]
    unsafe fn store_bf16(self, value: F32, to: *mut u16, stream: bool) {
        // Not `vcvtneps2bf16`, which flushes subnormals.
        let halves = op!({
            let bits = _mm512_castps_si512(value.0);
            let upper = _mm512_srli_epi32::<16>(bits);
            let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value.0, value.0);
            let quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
            let rounded = _mm512_mask_mov_epi32(_mm512_srli_epi32::<16>(up), nan, quiet);
            _mm512_cvtepi32_epi16(rounded)
        });
        // SAFETY: as this method's contract, and `new`'s for the instruction set.
        unsafe { put(halves, to, stream) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16, count: usize) -> [u16; 16] {
        // SAFETY: the caller lets the lanes of the mask be read; others are not touched.
        let halves = op!(_mm256_maskz_loadu_epi16(first_lanes(count) as __mmask16, from.cast()));
        // SAFETY: both are 32 bytes, and any bits are a `u16`.
        unsafe { core::mem::transmute::<__m256i, [u16; 16]>(halves) }
    }

    #[inline(always)]
    unsafe fn store_halves(self, halves: [u16; 16], to: *mut u16, count: usize) {
        // SAFETY: both are 32 bytes.
        let halves = unsafe { core::mem::transmute::<[u16; 16], __m256i>(halves) };
        // SAFETY: the caller lets the lanes of the mask be written; others are not touched.
        op!(_mm256_mask_storeu_epi16(to.cast(), first_lanes(count) as __mmask16, halves));
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

macro_rules! vector {
    ($vector:ident, $scalar:ty, $lanes:literal, $mask:ty,
     $set1:ident, $load:ident, $store:ident, $stream:ident, $load_mask:ident, $store_mask:ident,
     $add:ident, $sub:ident, $mul:ident, $fma:ident, $fnma:ident, $cmp:ident, $keep:ident, $select:ident,
     $zero:ident) => {
        impl Vector for $vector {
            type Scalar = $scalar;
            type Simd = Avx512;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Avx512, value: $scalar) -> Self {
                op!(Self($set1(value)))
            }
            #[inline(always)]
            unsafe fn load(_: Avx512, from: *const $scalar) -> Self {
                // SAFETY: the caller lets all lanes be read.
                op!(Self($load(from)))
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: the caller lets all lanes be written.
                op!($store(to, self.0));
            }
            #[inline(always)]
            unsafe fn stream(self, to: *mut $scalar) {
                // SAFETY: the caller lets all lanes be written, aligned, and fences.
                op!($stream(to.cast(), self.0));
            }
            #[inline(always)]
            unsafe fn load_first(_: Avx512, from: *const $scalar, count: usize) -> Self {
                // SAFETY: the caller lets the lanes of the mask be read; others are not touched.
                op!(Self($load_mask(first_lanes(count) as $mask, from)))
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $scalar, count: usize) {
                // SAFETY: the caller lets the lanes of the mask be written; others are not touched.
                op!($store_mask(to, first_lanes(count) as $mask, self.0));
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                op!(Self($add(self.0, other.0)))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                op!(Self($sub(self.0, other.0)))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                op!(Self($mul(self.0, other.0)))
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                op!(Self($fma(self.0, factor.0, addend.0)))
            }
            #[inline(always)]
            fn mul_sub_from(self, factor: Self, minuend: Self) -> Self {
                op!(Self($fnma(self.0, factor.0, minuend.0)))
            }
            #[inline(always)]
            fn relu(self) -> Self {
                op!(Self($keep($cmp::<_CMP_NLE_UQ>(self.0, $zero()), self.0)))
            }
            #[inline(always)]
            fn not_below(self, threshold: Self) -> u32 {
                u32::from(op!($cmp::<_CMP_NLE_UQ>(self.0, threshold.0)))
            }
            #[inline(always)]
            fn select(self, other: Self, mask: u32) -> Self {
                op!(Self($select(self.0, mask as $mask, other.0)))
            }
            #[inline(always)]
            fn keep(self, mask: u32) -> Self {
                op!(Self($keep(mask as $mask, self.0)))
            }
            #[inline(always)]
            fn pick(self, _: Avx512, places: [u8; 16]) -> Self {
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

vector!(
    F32,
    f32,
    16,
    __mmask16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_stream_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_cmp_ps_mask,
    _mm512_maskz_mov_ps,
    _mm512_mask_mov_ps,
    _mm512_setzero_ps
);
vector!(
    F64,
    f64,
    8,
    __mmask8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_stream_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_fmadd_pd,
    _mm512_fnmadd_pd,
    _mm512_cmp_pd_mask,
    _mm512_maskz_mov_pd,
    _mm512_mask_mov_pd,
    _mm512_setzero_pd
);

impl F32 {
    #[inline(always)]
    fn halves(self) -> [__m256; 2] {
        op!([_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)])
    }

    #[inline(always)]
    fn picked(self, places: [u8; 16]) -> Self {
        // SAFETY: sixteen bytes.
        let places = op!(_mm_loadu_si128(places.as_ptr().cast()));
        op!(Self(_mm512_permutexvar_ps(_mm512_cvtepu8_epi32(places), self.0)))
    }

    #[inline(always)]
    fn folded(self) -> F64 {
        let [low, high] = self.halves();
        op!(F64(_mm512_cvtps_pd(_mm256_add_ps(low, high))))
    }

    #[inline(always)]
    fn widened(self) -> [F64; 2] {
        let [low, high] = self.halves();
        op!([F64(_mm512_cvtps_pd(low)), F64(_mm512_cvtps_pd(high))])
    }
}

impl F64 {
    #[inline(always)]
    fn picked(self, places: [u8; 16]) -> Self {
        // SAFETY: sixteen bytes.
        let places = op!(_mm_loadu_si128(places.as_ptr().cast()));
        op!(Self(_mm512_permutexvar_pd(_mm512_cvtepu8_epi64(places), self.0)))
    }

    #[inline(always)]
    fn folded(self) -> Self {
        self
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        [self, op!(Self(_mm512_setzero_pd()))]
    }
}

impl Eight for F64 {
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        op!(Self(_mm512_div_pd(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        op!(Self(_mm512_sqrt_pd(self.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        op!(Self(_mm512_abs_pd(self.0)))
    }

    #[inline(always)]
    fn totals([a, b, c, d, e, f, g, h]: [Self; 8]) -> Self {
        // Upper halves onto lower ones, two vectors at a time; then quarters, four at a time; then lanes.
        let even = quarters(halves(a, c), halves(e, g)).0;
        let odd = quarters(halves(b, d), halves(f, h)).0;
        op!(Self(_mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd))))
    }

    #[inline(always)]
    unsafe fn store_narrow(self, to: *mut f32) {
        // SAFETY: the caller lets 8 values be written.
        op!(_mm256_storeu_ps(to, _mm512_cvtpd_ps(self.0)));
    }
}

/// The halves of two vectors added: those of the first, those of the other.
#[inline(always)]
fn halves(one: F64, other: F64) -> F64 {
    op!(F64(_mm512_add_pd(
        _mm512_shuffle_f64x2::<0b01_00_01_00>(one.0, other.0),
        _mm512_shuffle_f64x2::<0b11_10_11_10>(one.0, other.0),
    )))
}

/// The same for the quarters of what [`halves`] has added.
#[inline(always)]
fn quarters(one: F64, other: F64) -> F64 {
    op!(F64(_mm512_add_pd(
        _mm512_shuffle_f64x2::<0b10_00_10_00>(one.0, other.0),
        _mm512_shuffle_f64x2::<0b11_01_11_01>(one.0, other.0),
    )))
}
