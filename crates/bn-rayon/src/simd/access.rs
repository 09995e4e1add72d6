//! How elements become lanes: each type in its own precision, and any of them in `f64`.

use core::marker::PhantomData;

use bn_core::{Element, bf16, f16};

use super::{Real, Simd, Vector};

/// A way to load and store elements as lanes.
pub(crate) trait Access: Copy + Send + Sync + 'static {
    /// What lies in memory.
    type Stored: Element;
    /// What a lane holds.
    type Scalar: Real;
    /// A vector of lanes.
    type Vec<S: Simd>: Vector<Scalar = Self::Scalar, Simd = S>;
    /// The largest number that rounds to 0 when stored.
    const ROUNDS_TO_ZERO: f64;

    /// Loads all lanes.
    ///
    /// # Safety
    ///
    /// As [`Vector::load`].
    unsafe fn load<S: Simd>(simd: S, from: *const Self::Stored) -> Self::Vec<S>;

    /// Stores all lanes; past the cache where `STREAM`.
    ///
    /// # Safety
    ///
    /// As [`Vector::store`] and [`Vector::stream`].
    unsafe fn store<S: Simd, const STREAM: bool>(
        simd: S,
        value: Self::Vec<S>,
        to: *mut Self::Stored,
    );

    /// Loads the first lanes, zeros in the others.
    ///
    /// # Safety
    ///
    /// As [`Vector::load_first`].
    unsafe fn load_first<S: Simd>(simd: S, from: *const Self::Stored, count: usize)
    -> Self::Vec<S>;

    /// Stores the first lanes.
    ///
    /// # Safety
    ///
    /// As [`Vector::store_first`].
    unsafe fn store_first<S: Simd>(
        simd: S,
        value: Self::Vec<S>,
        to: *mut Self::Stored,
        count: usize,
    );
}

macro_rules! direct {
    ($type:ty, $vector:ident) => {
        impl Access for $type {
            type Stored = $type;
            type Scalar = $type;
            type Vec<S: Simd> = S::$vector;
            const ROUNDS_TO_ZERO: f64 = 0.0;

            #[inline(always)]
            unsafe fn load<S: Simd>(simd: S, from: *const $type) -> S::$vector {
                // SAFETY: the caller's.
                unsafe { S::$vector::load(simd, from) }
            }
            #[inline(always)]
            unsafe fn store<S: Simd, const STREAM: bool>(_: S, value: S::$vector, to: *mut $type) {
                if STREAM {
                    // SAFETY: the caller's.
                    unsafe { value.stream(to) }
                } else {
                    // SAFETY: the caller's.
                    unsafe { value.store(to) }
                }
            }
            #[inline(always)]
            unsafe fn load_first<S: Simd>(simd: S, from: *const $type, count: usize) -> S::$vector {
                // SAFETY: the caller's.
                unsafe { S::$vector::load_first(simd, from, count) }
            }
            #[inline(always)]
            unsafe fn store_first<S: Simd>(_: S, value: S::$vector, to: *mut $type, count: usize) {
                // SAFETY: the caller's.
                unsafe { value.store_first(to, count) }
            }
        }
    };
}

direct!(f32, F32);
direct!(f64, F64);

macro_rules! half {
    ($type:ty, $load:ident, $store:ident, $rounds_to_zero:expr) => {
        impl Access for $type {
            type Stored = $type;
            type Scalar = f32;
            type Vec<S: Simd> = S::F32;
            const ROUNDS_TO_ZERO: f64 = $rounds_to_zero;

            #[inline(always)]
            unsafe fn load<S: Simd>(simd: S, from: *const $type) -> S::F32 {
                // SAFETY: the caller's; both half types are `repr(transparent)` over `u16`.
                unsafe { simd.$load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store<S: Simd, const STREAM: bool>(simd: S, value: S::F32, to: *mut $type) {
                // SAFETY: the caller's; both half types are `repr(transparent)` over `u16`.
                unsafe { simd.$store(value, to.cast(), STREAM) }
            }
            #[inline(always)]
            unsafe fn load_first<S: Simd>(simd: S, from: *const $type, count: usize) -> S::F32 {
                // SAFETY: the caller's.
                let halves = unsafe { simd.load_halves(from.cast(), count) };
                // SAFETY: there are 16.
                unsafe { simd.$load(halves.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store_first<S: Simd>(simd: S, value: S::F32, to: *mut $type, count: usize) {
                let mut halves = [0; 16];
                // SAFETY: there is room for 16.
                unsafe { simd.$store(value, halves.as_mut_ptr(), false) };
                // SAFETY: the caller's.
                unsafe { simd.store_halves(halves, to.cast(), count) }
            }
        }
    };
}

// Half of the smallest subnormal: a tie, which goes to the even 0. 2^-25 and 2^-134.
half!(f16, load_f16, store_f16, 1.0 / (1u64 << 25) as f64);
half!(bf16, load_bf16, store_bf16, f64::from_bits((1023 - 134) << 52));

/// Any element in lanes of `f64`: for channels whose numbers leave the range of `f32`.
///
/// Rare but for sums of few values, so stores go through an array on every level.
#[derive(Clone, Copy)]
pub(crate) struct Wide<T>(PhantomData<T>);

impl<T: Element> Access for Wide<T> {
    type Stored = T;
    type Scalar = f64;
    type Vec<S: Simd> = S::F64;
    /// Half of the smallest subnormal of what is stored, by way of `f32`.
    const ROUNDS_TO_ZERO: f64 = match T::DTYPE {
        bn_core::DType::F64 => 0.0,
        // The tie of f32 before that of f16: what f32 rounds to 2^-25 becomes 0 as well.
        bn_core::DType::F16 => f64::from_bits(((1023 - 25) << 52) + (1 << 28)),
        bn_core::DType::BF16 => {
            f64::from_bits((1023 - 134) << 52) + f64::from_bits((1023 - 150) << 52)
        }
        _ => f64::from_bits((1023 - 150) << 52),
    };

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const T) -> S::F64 {
        match T::DTYPE {
            // SAFETY: the caller lets 8 values be read, and the type is the one that it is.
            bn_core::DType::F32 => return unsafe { simd.load_wide(from.cast()) },
            // SAFETY: the same.
            bn_core::DType::F64 => return unsafe { S::F64::load(simd, from.cast()) },
            _ => {}
        }
        // SAFETY: the same, and the other types have 16 bits.
        widen_halves::<T, S>(simd, unsafe { simd.load_halves(from.cast(), 8) })
    }

    #[inline(always)]
    unsafe fn store<S: Simd, const STREAM: bool>(_: S, value: S::F64, to: *mut T) {
        let mut lanes = [0.0; 8];
        // SAFETY: the array has 8 lanes.
        unsafe { value.store(lanes.as_mut_ptr()) };
        // SAFETY: the caller lets 8 values be written.
        unsafe { to.cast::<[T; 8]>().write(lanes.map(T::from_f64)) }
    }

    #[inline(always)]
    unsafe fn load_first<S: Simd>(simd: S, from: *const T, count: usize) -> S::F64 {
        match T::DTYPE {
            bn_core::DType::F32 => {
                // SAFETY: the caller's, and the type is the one that it is.
                return unsafe { S::F32::load_first(simd, from.cast(), count) }.widen()[0];
            }
            // SAFETY: the same.
            bn_core::DType::F64 => return unsafe { S::F64::load_first(simd, from.cast(), count) },
            _ => {}
        }
        // SAFETY: the same.
        widen_halves::<T, S>(simd, unsafe { simd.load_halves(from.cast(), count) })
    }

    #[inline(always)]
    unsafe fn store_first<S: Simd>(_: S, value: S::F64, to: *mut T, count: usize) {
        let mut lanes = [0.0; 8];
        // SAFETY: the array has 8 lanes.
        unsafe { value.store(lanes.as_mut_ptr()) };
        for (i, &lane) in lanes.iter().enumerate().take(count) {
            // SAFETY: the caller lets the first `count` values be written.
            unsafe { to.add(i).write(T::from_f64(lane)) };
        }
    }
}

/// The first 8 of 16 values of 16 bits.
#[inline(always)]
fn widen_halves<T: Element, S: Simd>(simd: S, halves: [u16; 16]) -> S::F64 {
    let single = match T::DTYPE {
        // SAFETY: there are 16.
        bn_core::DType::F16 => unsafe { simd.load_f16(halves.as_ptr()) },
        // SAFETY: the same.
        _ => unsafe { simd.load_bf16(halves.as_ptr()) },
    };
    single.widen()[0]
}
