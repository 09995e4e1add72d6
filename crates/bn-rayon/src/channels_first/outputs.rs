//! What strips are summed into and what is written: forward and backward, on vectors of a row.

use core::ops::AddAssign;

use super::{Given, Taken};
use crate::bits::BitStream;
use crate::run::{
    Finish, Minus, Pass, Through, gradient, load, passed, store_as, until_aligned, valid_lanes,
};
use crate::shared::Shared;
use crate::simd::{Access, Real, Simd, Vector, first_lanes};
use crate::tile::Cut;
use crate::tuning::Hint;

/// Where a row of a channel, or a piece of one, begins.
#[derive(Clone, Copy, Default)]
pub(crate) struct Row {
    /// Its first element.
    pub(super) element: usize,
    /// That element's byte of activation bits.
    pub(super) byte: usize,
    /// That element's position in a mask.
    pub(super) position: usize,
    pub(super) len: usize,
}

/// The way from one row to another.
#[derive(Clone, Copy, Default)]
pub(super) struct Stride {
    pub(super) element: usize,
    byte: usize,
    position: usize,
}

impl Stride {
    /// To the next channel of the sample.
    #[inline(always)]
    pub(super) fn channel(cut: &Cut) -> Self {
        let spatial = cut.problem.spatial();
        Self { element: spatial, byte: spatial.div_ceil(8), position: 0 }
    }

    /// To the same channel of the next sample.
    #[inline(always)]
    pub(super) fn sample(cut: &Cut) -> Self {
        let (one, channels) = (Self::channel(cut), cut.problem.channels());
        Self { element: channels * one.element, byte: channels * one.byte, position: one.element }
    }
}

impl AddAssign<Stride> for Row {
    #[inline(always)]
    fn add_assign(&mut self, stride: Stride) {
        self.element += stride.element;
        self.byte += stride.byte;
        self.position += stride.position;
    }
}

/// Two sums over a channel's values: of a, and of a·b.
pub(crate) trait Sum<A: Access>: Copy {
    /// What a channel's values are compared with, in lanes.
    type Held<S: Simd>: Copy;

    /// Loads it for a statistic.
    fn hold<S: Simd>(self, simd: S, statistic: usize) -> Self::Held<S>;

    /// a and b of `count` values of a row from `s` on; a is 0 in the other lanes, b finite.
    ///
    /// # Safety
    ///
    /// The row has them, and `s` is a multiple of 8.
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        held: Self::Held<S>,
        row: Row,
        s: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>);

    /// Asks for the lines of an element.
    fn prefetch<S: Simd>(self, simd: S, hint: Hint, at: usize);
}

/// One output value for each element, with `N` coefficients of its channel.
pub(crate) trait Output<A: Access, const N: usize>: Copy {
    /// Whether it is quicker with strips side by side even while others are summed, where the processor likes those.
    /// With an operand more it was not: together they are then more streams than a cache has ways.
    const ABREAST: bool;

    /// What is read, in lanes.
    type Loaded<S: Simd>: Copy;

    /// Reads `count` values from an element on, which may lie in several rows.
    ///
    /// # Safety
    ///
    /// The tensors have them.
    unsafe fn load<S: Simd>(&self, simd: S, at: usize, count: usize) -> Self::Loaded<S>;

    /// Whether [`Output::lanes`] says anything.
    fn by_rows(&self) -> bool;

    /// The lanes that a gate lets through, and those of valid positions.
    ///
    /// # Safety
    ///
    /// The row has `count` values from `s` on.
    unsafe fn lanes(&self, row: Row, s: usize, count: usize) -> [u32; 2];

    /// What is read, less what those lanes take away.
    fn restrict<S: Simd>(&self, loaded: Self::Loaded<S>, lanes: [u32; 2]) -> Self::Loaded<S>;

    /// The value before what follows.
    fn compute<S: Simd>(&self, loaded: Self::Loaded<S>, k: &[A::Vec<S>; N]) -> A::Vec<S>;

    /// What follows.
    fn finish<S: Simd>(&self, simd: S, loaded: Self::Loaded<S>, z: A::Vec<S>) -> A::Vec<S>;

    /// The lanes whose activation bit is set.
    fn open<S: Simd>(&self, simd: S, z: A::Vec<S>) -> u32;

    /// Whether activation bits are asked for.
    fn has_bits(&self) -> bool;

    /// The bits of a row, where they are asked for.
    fn bits(&self, row: Row) -> BitStream;

    /// Writes `count` values; past the cache where `STREAM`.
    ///
    /// # Safety
    ///
    /// The tensors have them, and nobody else uses them now. For `STREAM` a whole vector, aligned.
    unsafe fn store<S: Simd, const STREAM: bool>(
        &self,
        simd: S,
        loaded: Self::Loaded<S>,
        z: A::Vec<S>,
        at: usize,
        count: usize,
    );

    /// The address of an output.
    fn place(&self, at: usize) -> *const A::Stored;

    /// Asks for the lines of an element.
    fn prefetch<S: Simd>(&self, simd: S, at: usize);
}

/// Σ(x − K) and Σ(x − K)² of all values.
#[derive(Clone, Copy)]
pub(crate) struct Deviations<A: Access> {
    pub(crate) x: Shared<A::Stored>,
    pub(crate) shift: Shared<A::Scalar>,
}

impl<A: Access> Sum<A> for Deviations<A> {
    type Held<S: Simd> = Minus<A::Vec<S>>;

    #[inline(always)]
    fn hold<S: Simd>(self, simd: S, statistic: usize) -> Self::Held<S> {
        // SAFETY: the shift of each channel is written before its values are summed.
        Minus::new(simd, A::Vec::<S>::splat(simd, unsafe { self.shift.get(statistic) }))
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        shift: Self::Held<S>,
        row: Row,
        s: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        // SAFETY: the caller's.
        let mut d = shift.from(unsafe { load::<A, S>(simd, self.x.at(row.element + s), count) });
        if count < A::Vec::<S>::LANES {
            d = d.keep(first_lanes(count));
        }
        (d, d)
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, simd: S, hint: Hint, at: usize) {
        simd.prefetch_into(hint, self.x.at(at).cast());
    }
}

/// y = finish((x − centre)·scale + offset).
#[derive(Clone, Copy)]
pub(crate) struct Normalized<T, const FINISH: bool> {
    pub(crate) io: (Shared<T>, Shared<T>),
    pub(crate) finish: Finish<T>,
}

impl<A: Access, const FINISH: bool> Output<A, 3> for Normalized<A::Stored, FINISH> {
    const ABREAST: bool = true;

    /// x and the residual.
    type Loaded<S: Simd> = (A::Vec<S>, A::Vec<S>);

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, at: usize, count: usize) -> Self::Loaded<S> {
        // SAFETY: the caller's.
        let x = unsafe { load::<A, S>(simd, self.io.0.at(at), count) };
        let residual = match self.finish.residual.filter(|_| FINISH) {
            // SAFETY: the caller's.
            Some(residual) => unsafe { load::<A, S>(simd, residual.at(at), count) },
            None => x,
        };
        (x, residual)
    }

    #[inline(always)]
    fn by_rows(&self) -> bool {
        false
    }

    #[inline(always)]
    unsafe fn lanes(&self, _: Row, _: usize, _: usize) -> [u32; 2] {
        [u32::MAX; 2]
    }

    #[inline(always)]
    fn restrict<S: Simd>(&self, loaded: Self::Loaded<S>, _: [u32; 2]) -> Self::Loaded<S> {
        loaded
    }

    #[inline(always)]
    fn compute<S: Simd>(&self, (x, _): Self::Loaded<S>, k: &[A::Vec<S>; 3]) -> A::Vec<S> {
        x.sub(k[0]).mul_add(k[1], k[2])
    }

    #[inline(always)]
    fn finish<S: Simd>(&self, _: S, (_, residual): Self::Loaded<S>, z: A::Vec<S>) -> A::Vec<S> {
        if !FINISH {
            return z;
        }
        let z = if self.finish.residual.is_some() { z.add(residual) } else { z };
        if self.finish.relu { z.relu() } else { z }
    }

    #[inline(always)]
    fn open<S: Simd>(&self, simd: S, z: A::Vec<S>) -> u32 {
        z.not_below(A::Vec::<S>::splat(simd, A::Scalar::of(A::ROUNDS_TO_ZERO)))
    }

    #[inline(always)]
    fn has_bits(&self) -> bool {
        FINISH && self.finish.bits.is_some()
    }

    #[inline(always)]
    fn bits(&self, row: Row) -> BitStream {
        match self.finish.bits.filter(|_| FINISH) {
            Some(bits) => BitStream::new(bits.at(row.byte)),
            None => BitStream::default(),
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd, const STREAM: bool>(
        &self,
        simd: S,
        _: Self::Loaded<S>,
        z: A::Vec<S>,
        at: usize,
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe { store_as::<A, S, STREAM>(simd, z, self.io.1.at(at), count) };
    }

    #[inline(always)]
    fn place(&self, at: usize) -> *const A::Stored {
        self.io.1.at(at)
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, at: usize) {
        simd.prefetch(self.io.0.at(at).cast());
        if let Some(residual) = self.finish.residual.filter(|_| FINISH) {
            simd.prefetch(residual.at(at).cast());
        }
    }
}

/// Σdy and Σdy·(x − centre), dy behind the gate; `PLAIN` where that is open.
#[derive(Clone, Copy)]
pub(crate) struct GradientSum<A: Access, const PLAIN: bool> {
    pub(crate) dy: Shared<A::Stored>,
    pub(crate) through: Through<A::Stored>,
    pub(crate) x: Shared<A::Stored>,
    /// The mean of each statistic as lanes hold it.
    pub(crate) centre: Shared<A::Scalar>,
}

impl<A: Access, const PLAIN: bool> Sum<A> for GradientSum<A, PLAIN> {
    type Held<S: Simd> = Minus<A::Vec<S>>;

    #[inline(always)]
    fn hold<S: Simd>(self, simd: S, statistic: usize) -> Self::Held<S> {
        // SAFETY: the centre of each channel is written before its values are summed.
        Minus::new(simd, A::Vec::<S>::splat(simd, unsafe { self.centre.get(statistic) }))
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        centre: Self::Held<S>,
        row: Row,
        s: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let pass = if PLAIN { Pass::Everything } else { self.through.from(row.element, row.byte) };
        // SAFETY: the caller's.
        let dy = unsafe { passed::<A, S>(simd, self.dy.at(row.element), pass, s, count) };
        // SAFETY: the caller's.
        let x = unsafe { load::<A, S>(simd, self.x.at(row.element + s), count) };
        (dy, centre.from(x))
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, simd: S, hint: Hint, at: usize) {
        simd.prefetch_into(hint, self.x.at(at).cast());
        simd.prefetch_into(hint, self.dy.at(at).cast());
        if !PLAIN && let Through::Output(y) = self.through {
            simd.prefetch_into(hint, y.at(at).cast());
        }
    }
}

/// dx = (dy − dy_centre)·scale − (x − centre)·through + offset, dy behind the gate; dx = dy·scale where
/// there is no x and at positions that are not valid. `PLAIN` where the gate is open, there is an x, all positions are
/// valid and there is no residual: asking for each vector costs more than the arithmetic.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<T, const PLAIN: bool> {
    pub(crate) given: Given<T>,
    pub(crate) taken: Taken<T>,
}

/// What [`Gradient`] reads.
#[derive(Clone, Copy)]
pub(crate) struct Read<V> {
    dy: V,
    x: V,
    valid: u32,
}

impl<A: Access, const PLAIN: bool> Output<A, 5> for Gradient<A::Stored, PLAIN> {
    const ABREAST: bool = false;

    type Loaded<S: Simd> = Read<A::Vec<S>>;

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, at: usize, count: usize) -> Self::Loaded<S> {
        // SAFETY: the caller's, here and below.
        let mut dy = unsafe { load::<A, S>(simd, self.given.dy.at(at), count) };
        if !PLAIN && let Through::Output(y) = self.given.through {
            // SAFETY: the same.
            let y = unsafe { load::<A, S>(simd, y.at(at), count) };
            dy = dy.keep(y.not_below(A::Vec::<S>::splat(simd, A::Scalar::of(0.0))));
        }
        let x = match self.given.x {
            // SAFETY: the same.
            Some(x) => unsafe { load::<A, S>(simd, x.at(at), count) },
            None => dy,
        };
        Read { dy, x, valid: u32::MAX }
    }

    #[inline(always)]
    fn by_rows(&self) -> bool {
        !PLAIN && (matches!(self.given.through, Through::Bits(_)) || self.taken.mask.is_some())
    }

    #[inline(always)]
    unsafe fn lanes(&self, row: Row, s: usize, count: usize) -> [u32; 2] {
        let mut lanes = [u32::MAX; 2];
        if let Through::Bits(bits) = self.given.through {
            let first = row.byte + s / 8;
            let bytes = (s % 8 + count).div_ceil(8);
            lanes[0] = 0;
            for i in 0..bytes {
                // SAFETY: a byte of the row, which has `count` values from `s` on.
                lanes[0] |= u32::from(unsafe { bits.get(first + i) }) << (8 * i);
            }
            lanes[0] = lanes[0] >> (s % 8) & first_lanes(count);
        }
        if let Some(mask) = self.taken.mask {
            // SAFETY: the caller's.
            lanes[1] = unsafe { valid_lanes(mask.at(row.position + s), count) };
        }
        lanes
    }

    #[inline(always)]
    fn restrict<S: Simd>(&self, read: Self::Loaded<S>, [pass, valid]: [u32; 2]) -> Self::Loaded<S> {
        Read { dy: read.dy.keep(pass), valid: read.valid & valid, ..read }
    }

    #[inline(always)]
    fn compute<S: Simd>(&self, read: Self::Loaded<S>, k: &[A::Vec<S>; 5]) -> A::Vec<S> {
        if PLAIN {
            return gradient::<A, S>(read.dy, Some(read.x), *k, u32::MAX);
        }
        let x = if self.given.x.is_some() { Some(read.x) } else { None };
        gradient::<A, S>(read.dy, x, *k, read.valid)
    }

    #[inline(always)]
    fn finish<S: Simd>(&self, _: S, _: Self::Loaded<S>, z: A::Vec<S>) -> A::Vec<S> {
        z
    }

    #[inline(always)]
    fn open<S: Simd>(&self, _: S, _: A::Vec<S>) -> u32 {
        0
    }

    #[inline(always)]
    fn has_bits(&self) -> bool {
        false
    }

    #[inline(always)]
    fn bits(&self, _: Row) -> BitStream {
        BitStream::default()
    }

    #[inline(always)]
    unsafe fn store<S: Simd, const STREAM: bool>(
        &self,
        simd: S,
        read: Self::Loaded<S>,
        z: A::Vec<S>,
        at: usize,
        count: usize,
    ) {
        if !PLAIN && let Some(dresidual) = self.taken.dresidual {
            let to = dresidual.at(at);
            // Its lines need not begin where those of dx do.
            if STREAM && until_aligned::<A, S>(to) == 0 {
                // SAFETY: the caller's.
                unsafe { store_as::<A, S, STREAM>(simd, read.dy, to, count) };
            } else {
                // SAFETY: the caller's.
                unsafe { store_as::<A, S, false>(simd, read.dy, to, count) };
            }
        }
        // SAFETY: the caller's.
        unsafe { store_as::<A, S, STREAM>(simd, z, self.taken.dx.at(at), count) };
    }

    #[inline(always)]
    fn place(&self, at: usize) -> *const A::Stored {
        self.taken.dx.at(at)
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, at: usize) {
        simd.prefetch(self.given.dy.at(at).cast());
        if let Some(x) = self.given.x {
            simd.prefetch(x.at(at).cast());
        }
    }
}
