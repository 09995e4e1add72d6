//! The arithmetic of one run of consecutive values of one channel, on vectors.
//!
//! Every function here is inlined into a kernel that is compiled for an instruction set. Their common
//! contract: `len` values can be read at every pointer to tensors, written at every pointer to
//! outputs, and `ceil(len / 8)` bytes at pointers to activation bits.

use bn_core::{Epilogue, Gate, HostMemory, Scalar};

use crate::shared::Shared;
use crate::simd::{Access, Real, Simd, Vector, first_lanes};

/// Vectors that a chain of `f32` additions is long at most, before it goes into `f64`.
const CHAIN: usize = 4;

/// Vectors of two chains, which are added and go into `f64` together.
pub(crate) const BLOCK: usize = 2 * CHAIN;

/// What follows the normalisation of a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Finish<T> {
    pub(crate) relu: bool,
    pub(crate) residual: Option<Shared<T>>,
    pub(crate) bits: Option<Shared<u8>>,
}

impl<T: bn_core::Element> Finish<T> {
    pub(crate) fn of(epilogue: Epilogue<'_, T, HostMemory>) -> Self {
        let (relu, residual, bits) = match epilogue {
            Epilogue::None => (false, None, None),
            Epilogue::Relu { bits } => (true, None, bits),
            Epilogue::AddRelu { residual, bits } => (true, Some(Shared::reading(residual)), bits),
        };
        Self { relu, residual, bits: bits.map(Shared::writing) }
    }
}

impl<T: Scalar> Finish<T> {
    /// The same for elements of the same size.
    pub(crate) fn cast<U: Scalar>(self) -> Finish<U> {
        let Self { relu, residual, bits } = self;
        Finish { relu, residual: residual.map(Shared::cast), bits }
    }

    /// Whether anything follows at all.
    pub(crate) fn is_some(&self) -> bool {
        self.relu
    }
}

/// What let dy through.
#[derive(Clone, Copy)]
pub(crate) enum Through<T> {
    Everything,
    Output(Shared<T>),
    Bits(Shared<u8>),
}

impl<T: bn_core::Element> Through<T> {
    pub(crate) fn of(gate: Gate<'_, T, HostMemory>) -> Self {
        match gate {
            Gate::Open => Self::Everything,
            Gate::Output(y) => Self::Output(Shared::reading(y)),
            Gate::Bits(bits) => Self::Bits(Shared::reading(bits)),
        }
    }

    /// The same for elements of the same size.
    pub(crate) fn cast<U: Scalar>(self) -> Through<U> {
        match self {
            Self::Everything => Through::Everything,
            Self::Output(y) => Through::Output(y.cast()),
            Self::Bits(bits) => Through::Bits(bits),
        }
    }

    /// The same, seen from an element and its bit.
    #[inline(always)]
    pub(crate) fn from(self, element: usize, byte: usize) -> Pass<T> {
        match self {
            Self::Everything => Pass::Everything,
            Self::Output(y) => Pass::Output(y.at(element)),
            Self::Bits(bits) => Pass::Bits(bits.at(byte)),
        }
    }
}

/// [`Through`] at a run.
#[derive(Clone, Copy)]
pub(crate) enum Pass<T> {
    Everything,
    Output(*const T),
    Bits(*const u8),
}

/// [`Finish`] at a run; null where there is none.
#[derive(Clone, Copy)]
pub(crate) struct End<T> {
    pub(crate) relu: bool,
    pub(crate) residual: *const T,
    pub(crate) bits: *mut u8,
}

/// Loads a whole vector, or the first `count` lanes.
///
/// # Safety
///
/// `count` values can be read.
#[inline(always)]
pub(crate) unsafe fn load<A: Access, S: Simd>(
    simd: S,
    from: *const A::Stored,
    count: usize,
) -> A::Vec<S> {
    if count == A::Vec::<S>::LANES {
        // SAFETY: the caller's.
        unsafe { A::load(simd, from) }
    } else {
        // SAFETY: the caller's.
        unsafe { A::load_first(simd, from, count) }
    }
}

/// Stores a whole vector, or the first `count` lanes.
///
/// # Safety
///
/// `count` values can be written.
#[inline(always)]
pub(crate) unsafe fn store<A: Access, S: Simd>(
    simd: S,
    value: A::Vec<S>,
    to: *mut A::Stored,
    count: usize,
) {
    if count == A::Vec::<S>::LANES {
        // SAFETY: the caller's.
        unsafe { A::store::<S, false>(simd, value, to) }
    } else {
        // SAFETY: the caller's.
        unsafe { A::store_first(simd, value, to, count) }
    }
}

/// Stores a whole vector, past the cache where `STREAM`, or the first `count` lanes.
///
/// # Safety
///
/// `count` values can be written; for `STREAM` a whole vector is aligned to its size.
#[inline(always)]
pub(crate) unsafe fn store_as<A: Access, S: Simd, const STREAM: bool>(
    simd: S,
    value: A::Vec<S>,
    to: *mut A::Stored,
    count: usize,
) {
    if count == A::Vec::<S>::LANES {
        // SAFETY: the caller's.
        unsafe { A::store::<S, STREAM>(simd, value, to) }
    } else {
        // SAFETY: the caller's.
        unsafe { A::store_first(simd, value, to, count) }
    }
}

/// Runs `$body` for the offset and lanes of each vector from `$from` to `$to`.
///
/// A macro, as is [`in_chains`]: a closure is a function of its own, compiled without the instruction
/// set unless it happens to be inlined. With closures, backward took five times as long.
macro_rules! each_vector {
    ($lanes:expr, $from:expr, $to:expr, |$at:ident, $count:ident| $body:block) => {{
        let (lanes, to) = ($lanes, $to);
        let mut next = $from;
        while next + lanes <= to {
            let ($at, $count) = (next, $lanes);
            $body
            next += lanes;
        }
        if next < to {
            let ($at, $count) = (next, to - next);
            $body
        }
    }};
}
pub(crate) use each_vector;

/// Runs `$body` for the chain, offset and lanes of each vector below `$len`, two chains in turn.
macro_rules! in_chains {
    ($lanes:expr, $len:expr, |$chain:ident, $at:ident, $count:ident| $body:block) => {{
        let (lanes, len) = ($lanes, $len);
        let mut next = 0;
        while next + 2 * lanes <= len {
            {
                let ($chain, $at, $count) = (0, next, $lanes);
                $body
            }
            {
                let ($chain, $at, $count) = (1, next + lanes, $lanes);
                $body
            }
            next += 2 * lanes;
        }
        if next + lanes <= len {
            let ($chain, $at, $count) = (0, next, $lanes);
            $body
            next += lanes;
        }
        if next < len {
            let ($chain, $at, $count) = (1, next, len - next);
            $body
        }
    }};
}
pub(crate) use in_chains;

/// The lanes that a mask of positions leaves.
///
/// # Safety
///
/// `count` bytes can be read.
#[inline(always)]
pub(crate) unsafe fn valid_lanes(mask: *const u8, count: usize) -> u32 {
    // SAFETY: the caller's.
    let bytes = unsafe { core::slice::from_raw_parts(mask, count) };
    bytes.iter().rev().fold(0, |lanes, &valid| lanes << 1 | u32::from(valid != 0))
}

/// How many values lie before the next address that a vector can bypass the cache to.
#[inline(always)]
pub(crate) fn until_aligned<A: Access, S: Simd>(to: *const A::Stored) -> usize {
    let bytes = A::Vec::<S>::LANES * size_of::<A::Stored>();
    (bytes - to.addr() % bytes) % bytes / size_of::<A::Stored>()
}

/// A number to subtract, as x·1 + (−K), by the multipliers: x − K to the bit, but for the sign of −0 − 0.
///
/// AMD's cores add with one half of their vector units and multiply with the other, and sums have twice as
/// many additions as products: those of 56×56 values took 187 ns within the cache, and take 165 ns so.
#[derive(Clone, Copy)]
pub(crate) struct Minus<V> {
    one: V,
    negative: V,
}

impl<V: Vector> Minus<V> {
    #[inline(always)]
    pub(crate) fn new(simd: V::Simd, value: V) -> Self {
        // Hidden from the compiler, which would make an addition of it again.
        let one = V::splat(simd, V::Scalar::of(core::hint::black_box(1.0)));
        Self { one, negative: V::splat(simd, V::Scalar::default()) }.of(simd, value)
    }

    /// The same of another K; one register has the 1 of all.
    #[inline(always)]
    pub(crate) fn of(self, simd: V::Simd, value: V) -> Self {
        Self { negative: V::splat(simd, V::Scalar::default()).sub(value), ..self }
    }

    /// x − K
    #[inline(always)]
    pub(crate) fn from(self, x: V) -> V {
        x.mul_add(self.one, self.negative)
    }
}

/// Adds Σ(x − shift) and Σ(x − shift)² to `sums`.
///
/// # Safety
///
/// As the module says; `mask`, unless null, has `len` bytes.
#[inline(always)]
pub(crate) unsafe fn sum_deviations<A: Access, S: Simd>(
    simd: S,
    x: *const A::Stored,
    mask: *const u8,
    len: usize,
    shift: A::Scalar,
    sums: &mut [S::F64; 2],
) {
    let lanes = A::Vec::<S>::LANES;
    let zero = A::Vec::<S>::splat(simd, A::Scalar::of(0.0));
    let shift = A::Vec::<S>::splat(simd, shift);
    let mut done = 0;
    while done < len {
        let block = (len - done).min(2 * CHAIN * lanes);
        let (mut first, mut second) = ([zero; 2], [zero; 2]);
        in_chains!(A::Vec::<S>::LANES, block, |chain, at, count| {
            // SAFETY: `done + at + count` is at most `len`.
            let mut d = unsafe { load::<A, S>(simd, x.add(done + at), count) }.sub(shift);
            if !mask.is_null() {
                // SAFETY: the same.
                d = d.keep(unsafe { valid_lanes(mask.add(done + at), count) });
            } else if count < lanes {
                d = d.keep(first_lanes(count));
            }
            first[chain] = first[chain].add(d);
            second[chain] = d.mul_add(d, second[chain]);
        });
        sums[0] = sums[0].add(first[0].add(first[1]).fold());
        sums[1] = sums[1].add(second[0].add(second[1]).fold());
        done += block;
    }
}

/// y = finish((x − centre)·scale + offset).
///
/// # Safety
///
/// As the module says.
#[inline(always)]
pub(crate) unsafe fn normalize<A: Access, S: Simd, const FINISH: bool>(
    simd: S,
    x: *const A::Stored,
    y: *mut A::Stored,
    len: usize,
    coefficients: [A::Scalar; 3],
    end: End<A::Stored>,
) {
    let [centre, scale, offset] = coefficients.map(|value| A::Vec::<S>::splat(simd, value));
    each_vector!(A::Vec::<S>::LANES, 0, len, |at, count| {
        // SAFETY: `at + count` is at most `len`.
        let x = unsafe { load::<A, S>(simd, x.add(at), count) };
        let mut z = x.sub(centre).mul_add(scale, offset);
        if FINISH {
            // SAFETY: the same; vectors begin at whole bytes of bits.
            z = unsafe { finish::<A, S>(simd, z, end, at, count) };
        }
        // SAFETY: the same.
        unsafe { store::<A, S>(simd, z, y.add(at), count) };
    });
}

/// Adds the residual, applies the ReLU and records the bits, at `at` of a run.
///
/// # Safety
///
/// As the module says for `at + count` values, `at` a multiple of 8.
#[inline(always)]
pub(crate) unsafe fn finish<A: Access, S: Simd>(
    simd: S,
    mut z: A::Vec<S>,
    end: End<A::Stored>,
    at: usize,
    count: usize,
) -> A::Vec<S> {
    if !end.residual.is_null() {
        // SAFETY: the caller's.
        z = z.add(unsafe { load::<A, S>(simd, end.residual.add(at), count) });
    }
    if end.relu {
        z = z.relu();
    }
    if !end.bits.is_null() {
        let threshold = A::Vec::<S>::splat(simd, A::Scalar::of(A::ROUNDS_TO_ZERO));
        let mask = z.not_below(threshold) & first_lanes(count);
        let bytes = mask.to_le_bytes();
        // SAFETY: the caller's; a vector has at most two bytes of bits.
        unsafe { end.bits.add(at / 8).write(bytes[0]) };
        if count > 8 {
            // SAFETY: the same.
            unsafe { end.bits.add(at / 8 + 1).write(bytes[1]) };
        }
    }
    z
}

/// dy behind the gate, at `at` of a run.
///
/// # Safety
///
/// As the module says for `at + count` values, `at` a multiple of 8.
#[inline(always)]
pub(crate) unsafe fn passed<A: Access, S: Simd>(
    simd: S,
    dy: *const A::Stored,
    pass: Pass<A::Stored>,
    at: usize,
    count: usize,
) -> A::Vec<S> {
    // SAFETY: the caller's.
    let dy = unsafe { load::<A, S>(simd, dy.add(at), count) };
    match pass {
        Pass::Everything => dy,
        Pass::Output(y) => {
            // SAFETY: the caller's.
            let y = unsafe { load::<A, S>(simd, y.add(at), count) };
            dy.keep(y.not_below(A::Vec::<S>::splat(simd, A::Scalar::of(0.0))))
        }
        Pass::Bits(bits) => {
            // SAFETY: the caller's; a vector has at most two bytes of bits.
            let low = unsafe { bits.add(at / 8).read() };
            // SAFETY: the same.
            let high = if count > 8 { unsafe { bits.add(at / 8 + 1).read() } } else { 0 };
            dy.keep(u32::from(low) | u32::from(high) << 8)
        }
    }
}

/// Adds Σdy and Σdy·(x − centre) to `sums`, dy behind the gate.
///
/// # Safety
///
/// As the module says.
#[inline(always)]
pub(crate) unsafe fn sum_gradients<A: Access, S: Simd>(
    simd: S,
    dy: *const A::Stored,
    pass: Pass<A::Stored>,
    x: *const A::Stored,
    len: usize,
    centre: A::Scalar,
    sums: &mut [S::F64; 2],
) {
    let lanes = A::Vec::<S>::LANES;
    let splat = |value| A::Vec::<S>::splat(simd, value);
    let (zero, centre) = (splat(A::Scalar::of(0.0)), splat(centre));
    let mut done = 0;
    while done < len {
        let block = (len - done).min(2 * CHAIN * lanes);
        let (mut first, mut second) = ([zero; 2], [zero; 2]);
        in_chains!(A::Vec::<S>::LANES, block, |chain, at, count| {
            // SAFETY: `done + at + count` is at most `len`, and blocks are multiples of 8.
            let dy = unsafe { passed::<A, S>(simd, dy, pass, done + at, count) };
            // SAFETY: the same.
            let x = unsafe { load::<A, S>(simd, x.add(done + at), count) };
            first[chain] = first[chain].add(dy);
            // The lanes of dy beyond the run are 0, those of x − centre are finite.
            second[chain] = dy.mul_add(x.sub(centre), second[chain]);
        });
        sums[0] = sums[0].add(first[0].add(first[1]).fold());
        sums[1] = sums[1].add(second[0].add(second[1]).fold());
        done += block;
    }
}

/// Where the gradients of a run go, and the mask of positions; null where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Gradients<T> {
    pub(crate) dx: *mut T,
    pub(crate) dresidual: *mut T,
    pub(crate) mask: *const u8,
}

/// dx = (dy − dy_centre)·scale − (x − centre)·through + offset, dy behind the gate; dx = dy·scale where
/// `x` is null and at positions that are not valid.
///
/// # Safety
///
/// As the module says.
#[inline(always)]
pub(crate) unsafe fn apply_gradients<A: Access, S: Simd>(
    simd: S,
    dy: *const A::Stored,
    pass: Pass<A::Stored>,
    x: *const A::Stored,
    len: usize,
    coefficients: [A::Scalar; 5],
    to: Gradients<A::Stored>,
) {
    let coefficients = coefficients.map(|value| A::Vec::<S>::splat(simd, value));
    each_vector!(A::Vec::<S>::LANES, 0, len, |at, count| {
        // SAFETY: `at + count` is at most `len`, `at` a multiple of 8.
        let dy = unsafe { passed::<A, S>(simd, dy, pass, at, count) };
        let x = if x.is_null() {
            None
        } else {
            // SAFETY: the same.
            Some(unsafe { load::<A, S>(simd, x.add(at), count) })
        };
        let valid = if to.mask.is_null() {
            u32::MAX
        } else {
            // SAFETY: the same.
            unsafe { valid_lanes(to.mask.add(at), count) }
        };
        let dx = gradient::<A, S>(dy, x, coefficients, valid);
        if !to.dresidual.is_null() {
            // SAFETY: the same.
            unsafe { store::<A, S>(simd, dy, to.dresidual.add(at), count) };
        }
        // SAFETY: the same.
        unsafe { store::<A, S>(simd, dx, to.dx.add(at), count) };
    });
}

/// dx of one vector.
#[inline(always)]
pub(crate) fn gradient<A: Access, S: Simd>(
    dy: A::Vec<S>,
    x: Option<A::Vec<S>>,
    [centre, dy_centre, through, scale, offset]: [A::Vec<S>; 5],
    valid: u32,
) -> A::Vec<S> {
    let Some(x) = x else { return dy.mul(scale) };
    let dx = dy.sub(dy_centre).mul_add(scale, x.sub(centre).mul_sub_from(through, offset));
    if valid == u32::MAX {
        return dx;
    }
    // Where a position is not valid, dy itself. Bits are chosen, so a NaN there does no harm.
    dy.mul(scale).select(dx, valid)
}

/// A small piece of memory in the first-level cache, from which whole lines go past the cache.
#[repr(align(64))]
pub(crate) struct Stage([u64; Stage::BYTES / 8]);

impl Stage {
    /// Its size.
    pub(crate) const BYTES: usize = 8192;

    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self([0; Self::BYTES / 8])
    }

    /// Where to write.
    #[inline(always)]
    pub(crate) fn at<T>(&mut self, index: usize) -> *mut T {
        self.0.as_mut_ptr().cast::<T>().wrapping_add(index)
    }

    /// Copies the first `len` values to `to` with stores that bypass the cache.
    ///
    /// # Safety
    ///
    /// `len` values have been written here and can be written there. [`Simd::fence`] comes before
    /// anyone else reads them.
    #[inline(always)]
    pub(crate) unsafe fn flush<T: Scalar, S: Simd>(&self, simd: S, to: *mut T, len: usize) {
        let (from, to, bytes) =
            (self.0.as_ptr().cast::<u8>(), to.cast::<u8>(), len * size_of::<T>());
        let head = to.align_offset(64).min(bytes);
        // SAFETY: `head` is at most `bytes`.
        unsafe { core::ptr::copy_nonoverlapping(from, to, head) };
        let mut at = head;
        while at + 64 <= bytes {
            // SAFETY: 64 bytes from `at` are in both.
            let line = unsafe { S::F32::load(simd, from.add(at).cast()) };
            // SAFETY: the same, and `to + at` is a multiple of 64 bytes.
            unsafe { line.stream(to.add(at).cast()) };
            at += 64;
        }
        // SAFETY: what is left.
        unsafe { core::ptr::copy_nonoverlapping(from.add(at), to.add(at), bytes - at) };
    }
}
