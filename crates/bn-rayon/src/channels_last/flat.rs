//! Rows of a tile as if all were one: a vector may lie in two of them.

use core::ops::Range;

use super::AHEAD;
use super::table::{LoadLanes, period};
use crate::bits::BitStream;
use crate::run::until_aligned;
use crate::shared::Shared;
use crate::simd::{Access, Real, Simd, Vector};

/// How many runs of rows go side by side, where the processor likes that.
const RUNS: usize = 4;

/// Vectors of a run that are written before the next run's: whole lines, a few of them.
const TURN: usize = 4;

/// What is written for each element, with `N` coefficients of its channel.
pub(super) trait Flat<A: Access, const N: usize> {
    /// Writes `count` values from an element on.
    ///
    /// # Safety
    ///
    /// The tile has them, and the next of the bits is that of the first. For `TO_MEMORY` a whole vector,
    /// aligned.
    unsafe fn write<S: Simd, const TO_MEMORY: bool>(
        &self,
        simd: S,
        k: [A::Vec<S>; N],
        bits: &mut BitStream,
        at: usize,
        count: usize,
    );

    /// Where an element is written.
    fn place(&self, at: usize) -> *const A::Stored;

    /// The bits from an element on, at which a byte begins, if there are any.
    fn bits(&self, at: usize) -> BitStream;

    /// Asks for the lines of an element, which need not be one.
    fn ask<S: Simd>(&self, simd: S, at: usize);
}

/// The coefficients of a group, and how its rows are walked.
#[derive(Clone, Copy)]
pub(super) struct Rows<R, const N: usize> {
    pub(super) table: [Shared<R>; N],
    /// The group's first place there.
    pub(super) first: usize,
    pub(super) channels: usize,
    /// Whether runs of rows go side by side.
    pub(super) abreast: bool,
}

impl<R: LoadLanes + Real, const N: usize> Rows<R, N> {
    /// Writes some rows, past the cache where `STREAM`.
    ///
    /// # Safety
    ///
    /// The tile has them. Where there are bits, those of a row follow those of the row before without a gap.
    #[inline(always)]
    pub(super) unsafe fn write<A: Access<Scalar = R>, S: Simd, const STREAM: bool>(
        self,
        simd: S,
        what: &impl Flat<A, N>,
        rows: Range<usize>,
    ) {
        let mut at = rows.start * self.channels;
        let end = rows.end * self.channels;
        // Within a cache what is gained is that coefficients are loaded once for all runs, if they can be kept.
        if self.abreast && (STREAM || S::MANY_REGISTERS) {
            let run = self.run(size_of::<A::Stored>(), rows.len()) * self.channels;
            if run > 0 {
                // SAFETY: so many rows of the tile, here and below.
                unsafe { self.runs::<A, S, STREAM, RUNS>(simd, what, at, run) };
                at += RUNS * run;
            }
        }
        if at < end {
            // SAFETY: the same.
            unsafe { self.runs::<A, S, STREAM, 1>(simd, what, at, end - at) };
        }
        if STREAM {
            simd.fence();
        }
    }

    /// How many rows a run has: lines must begin at the same places in all. Not quite a quarter of the tile, for
    /// lines that are a power of two apart compete for the same places of the caches.
    #[inline(always)]
    fn run(self, size: usize, rows: usize) -> usize {
        let quarter = (rows / RUNS).saturating_sub(1);
        if (self.channels * size).is_multiple_of(64) { quarter } else { quarter / 16 * 16 }
    }

    /// Writes runs of `len` values that follow each other, side by side.
    ///
    /// # Safety
    ///
    /// The tile has them, a row begins at the first of each, and where stores bypass the cache lines begin at
    /// the same places in all.
    #[inline(always)]
    unsafe fn runs<A: Access<Scalar = R>, S: Simd, const STREAM: bool, const COUNT: usize>(
        self,
        simd: S,
        what: &impl Flat<A, N>,
        at: usize,
        len: usize,
    ) {
        let lanes = A::Vec::<S>::LANES;
        let mut bits = [what.bits(at); COUNT];
        for (run, bits) in bits.iter_mut().enumerate().skip(1) {
            *bits = what.bits(at + run * len);
        }
        let (period, mut c, mut done) = (period(self.channels), 0, 0);
        // Macros, for closures would be compiled without the instruction set.
        macro_rules! each_run {
            ($to_memory:tt, $k:expr, $count:expr) => {
                for (run, bits) in bits.iter_mut().enumerate() {
                    let from = at + run * len + done;
                    // SAFETY: the caller's; whole vectors are aligned where stores bypass the cache.
                    unsafe { what.write::<S, $to_memory>(simd, $k, bits, from, $count) };
                }
            };
        }
        // No vector past the cache may lie in two lines. Within it that is quicker too where coefficients, which then
        // do, are loaded once for all runs.
        if STREAM || COUNT > 1 {
            let head = until_aligned::<A, S>(what.place(at)).min(len);
            if head > 0 {
                let k = self.coefficients::<A, S>(simd, 0);
                each_run!(false, k, head);
                (done, c) = (head, head);
            }
        }
        while done + lanes <= len {
            let mut vectors = (period - c).div_ceil(lanes).min((len - done) / lanes);
            while COUNT > 1 && vectors >= TURN {
                let mut k = [self.coefficients::<A, S>(simd, c); TURN];
                for (v, k) in k.iter_mut().enumerate().skip(1) {
                    *k = self.coefficients::<A, S>(simd, c + v * lanes);
                }
                for (run, bits) in bits.iter_mut().enumerate() {
                    for (v, k) in k.iter().enumerate() {
                        let from = at + run * len + done + v * lanes;
                        // SAFETY: as above.
                        unsafe { what.write::<S, STREAM>(simd, *k, bits, from, lanes) };
                    }
                }
                (done, c, vectors) = (done + TURN * lanes, c + TURN * lanes, vectors - TURN);
            }
            for _ in 0..vectors {
                if COUNT == 1 {
                    what.ask(simd, at + done + AHEAD / size_of::<A::Stored>());
                }
                let k = self.coefficients::<A, S>(simd, c);
                each_run!(STREAM, k, lanes);
                (done, c) = (done + lanes, c + lanes);
            }
            if c >= period {
                c -= period;
            }
        }
        if done < len {
            let k = self.coefficients::<A, S>(simd, c);
            each_run!(false, k, len - done);
        }
    }

    /// Those of a whole vector from a channel on, which may lie in two rows.
    #[inline(always)]
    fn coefficients<A: Access<Scalar = R>, S: Simd>(self, simd: S, c: usize) -> [A::Vec<S>; N] {
        // SAFETY: a table has a vector of coefficients from every place of a channel on.
        unsafe { self.first_coefficients::<A, S>(simd, c, A::Vec::<S>::LANES) }
    }

    /// Those of `count` channels from `c` on.
    ///
    /// # Safety
    ///
    /// The table has them.
    #[inline(always)]
    pub(super) unsafe fn first_coefficients<A: Access<Scalar = R>, S: Simd>(
        self,
        simd: S,
        c: usize,
        count: usize,
    ) -> [A::Vec<S>; N] {
        let mut k = [A::Vec::<S>::splat(simd, R::default()); N];
        // No closure: it would be compiled without the instruction set.
        for (k, lanes) in k.iter_mut().zip(self.table) {
            // SAFETY: the caller's.
            *k = unsafe { R::load::<A, S>(simd, lanes.at(self.first + c), count) };
        }
        k
    }
}
