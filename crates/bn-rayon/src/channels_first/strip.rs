//! The kernel of channels-first: strips of one unit are summed while those of another are written.
//!
//! A strip is what a unit's channels have of one sample: rows that follow each other in memory. Sums
//! read memory and outputs go past the cache; taken in turns, some hundred bytes of each, the two overlap,
//! where one after the other they add up. How long turns and strips are best differs between processors:
//! see [`crate::tuning`].

use core::mem::MaybeUninit;
use core::ops::Range;

use super::CHANNELS;
use super::outputs::{BitSink, Output, Row, Sum};
use super::sums::SumRows;
use crate::run::BLOCK;
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector, first_lanes};
use crate::tile::{Cut, Tile};

/// Rows of at most so many values are written with coefficients spread over the strip: 7×7 has three
/// vectors to a row, and going from one row to the next costs as much as two.
pub(crate) const SHORT_ROW: usize = 100;

/// Values of a strip that is written so, at most.
pub(super) const SPREAD: usize = 1024;

/// The coefficients of a strip's values.
#[repr(align(64))]
struct Spread<R, const N: usize>([[R; SPREAD]; N]);

/// Fewer strips are not worth it.
pub(crate) const FEW_STRIPS: usize = 8;

/// Some strips of a unit.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) tile: Tile,
    pub(crate) strips: Range<usize>,
}

/// Writes a span, and beside it sums another, in step.
pub(crate) struct Step<'a, A: Access, Q, W, const N: usize, const STREAM: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) sum: Option<SumRows<'a, A, Q>>,
    pub(crate) write: (Span, W),
    /// The coefficients of each statistic.
    pub(crate) table: [Shared<A::Scalar>; N],
    /// How many bytes ahead memory is asked for where nothing is summed; 0 where tensors are in the cache.
    pub(crate) ahead: usize,
    /// How many bytes are summed before as many are written.
    pub(crate) turn: usize,
    /// Whether strips are written from the first: what has been summed is written from the last, which is
    /// still in the cache.
    pub(crate) forwards: bool,
}

/// A row of a span.
#[inline(always)]
pub(super) fn row_of(cut: &Cut, tile: &Tile, strip: usize, c: usize) -> Row {
    let problem = cut.problem;
    let (n, columns) = cut.strip(tile.group, strip);
    let row = n * problem.channels() + c;
    Row {
        element: row * problem.spatial() + columns.start,
        byte: row * problem.spatial().div_ceil(8) + columns.start / 8,
        position: n * problem.spatial() + columns.start,
        len: columns.len(),
    }
}

impl<A, Q, W, const N: usize, const STREAM: bool> Kernel for Step<'_, A, Q, W, N, STREAM>
where
    A: Access,
    Q: Sum<A>,
    W: Output<A, N>,
{
    const STREAMS: bool = STREAM;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut space = MaybeUninit::uninit();
        let spread = self.spread(&mut space);
        let block = BLOCK * A::Vec::<S>::LANES * size_of::<A::Stored>();
        let blocks = (self.turn / block).max(1);
        let mut left = self.write.0.strips.clone();
        let mut acc = [const { MaybeUninit::uninit() }; CHANNELS];
        let mut sums = self.sum.as_ref().map(|sum| sum.begin(simd, &mut acc));
        // One loop and one place where vectors are written: each is some hundreds of instructions.
        loop {
            let strip = if self.forwards { left.next() } else { left.next_back() };
            let summing = sums.as_mut().is_some_and(|sums| sums.next_strip(simd));
            if strip.is_none() && !summing {
                break;
            }
            let mut cursor = self.cursor(simd, spread, strip);
            loop {
                let vectors = match &mut sums {
                    Some(sums) if summing => sums.next_turn(simd, blocks),
                    _ => None,
                };
                cursor.advance(simd, vectors.unwrap_or(usize::MAX));
                if vectors.is_none() {
                    break;
                }
            }
        }
        if STREAM {
            simd.fence();
        }
    }
}

impl<A, Q, W, const N: usize, const STREAM: bool> Step<'_, A, Q, W, N, STREAM>
where
    A: Access,
    Q: Sum<A>,
    W: Output<A, N>,
{
    /// Writes the coefficients of each value of a strip to `space`, where rows are short and strips many,
    /// and returns where they are, each [`SPREAD`] places behind the one before; null where they are not.
    #[inline(always)]
    fn spread(&self, space: &mut MaybeUninit<Spread<A::Scalar, N>>) -> *const A::Scalar {
        let (span, output) = &self.write;
        let (row, channels) = (self.cut.problem.spatial(), span.tile.channels.len());
        if row > SHORT_ROW
            || row * channels + 16 > SPREAD
            || span.strips.len() < FEW_STRIPS
            || output.by_rows()
            || output.has_bits()
        {
            return core::ptr::null();
        }
        let first = self.cut.problem.channels() * span.tile.group + span.tile.channels.start;
        let to: *mut A::Scalar = space.as_mut_ptr().cast();
        for (i, table) in self.table.iter().enumerate() {
            let to = to.wrapping_add(i * SPREAD);
            for c in 0..channels {
                // SAFETY: the coefficients of a unit are there before it is written.
                let value = unsafe { table.get(first + c) };
                // Behind the strip, room for the last vector.
                let end = if c + 1 == channels { row + 16 } else { row };
                for s in 0..end {
                    // SAFETY: below `SPREAD`.
                    unsafe { to.add(c * row + s).write(value) };
                }
            }
        }
        to
    }

    #[inline(always)]
    fn cursor<S: Simd>(
        &self,
        simd: S,
        spread: *const A::Scalar,
        strip: Option<usize>,
    ) -> Cursor<A, W, S, N, STREAM> {
        let Some(strip) = strip else { return Cursor::nothing(simd, self.table) };
        let (Span { tile, .. }, output) = &self.write;
        let row = row_of(self.cut, tile, strip, tile.channels.start);
        Cursor {
            output: Some(*output),
            spread,
            start: row.element,
            table: self.table,
            statistic: tile.group * self.cut.problem.channels() + tile.channels.start,
            row,
            problem: (self.cut.problem.spatial(), self.cut.problem.spatial().div_ceil(8)),
            at: row.element,
            row_end: row.element + row.len,
            end: row.element + row.len * tile.channels.len(),
            k: [A::Vec::<S>::splat(simd, A::Scalar::default()); N],
            bits: BitSink::default(),
            ahead: if self.sum.is_some() { 0 } else { self.ahead / size_of::<A::Stored>() },
        }
        .begun(simd)
    }
}

/// Where a strip is written, vector by vector, across the ends of its rows.
struct Cursor<A: Access, W, S: Simd, const N: usize, const STREAM: bool> {
    /// By value: behind a reference its pointers are read again for every vector, for stores might have
    /// changed them.
    output: Option<W>,
    /// What [`Step::spread`] says.
    spread: *const A::Scalar,
    start: usize,
    table: [Shared<A::Scalar>; N],
    /// That of the row at `at`.
    statistic: usize,
    row: Row,
    /// How many elements, and bytes of bits, lie between two channels.
    problem: (usize, usize),
    at: usize,
    row_end: usize,
    end: usize,
    k: [A::Vec<S>; N],
    bits: BitSink,
    ahead: usize,
}

impl<A: Access, W: Output<A, N>, S: Simd, const N: usize, const STREAM: bool>
    Cursor<A, W, S, N, STREAM>
{
    const LANES: usize = A::Vec::<S>::LANES;

    /// A strip of no length.
    #[inline(always)]
    fn nothing(simd: S, table: [Shared<A::Scalar>; N]) -> Self {
        let k = [A::Vec::<S>::splat(simd, A::Scalar::default()); N];
        let (row, bits) = (Row::default(), BitSink::default());
        Self {
            output: None,
            spread: core::ptr::null(),
            start: 0,
            table,
            statistic: 0,
            row,
            problem: (0, 0),
            at: 0,
            row_end: 0,
            end: 0,
            k,
            bits,
            ahead: 0,
        }
    }

    /// At the strip's first whole line, where stores bypass the cache.
    #[inline(always)]
    fn begun(mut self, simd: S) -> Self {
        if self.spread.is_null() {
            self.begin_row(simd);
        }
        if STREAM && let Some(output) = self.output {
            let bytes = Self::LANES * size_of::<A::Stored>();
            let misaligned = output.place(self.at).addr() % bytes;
            if misaligned > 0 {
                let head = (bytes - misaligned) / size_of::<A::Stored>();
                let head = head.min(self.end - self.at);
                if self.spread.is_null() {
                    self.across(simd, head);
                } else {
                    self.flat::<false>(simd, output, head);
                }
            }
        }
        self
    }

    #[inline(always)]
    fn begin_row(&mut self, simd: S) {
        for (k, table) in self.k.iter_mut().zip(&self.table) {
            // SAFETY: the coefficients of a unit are there before it is written.
            *k = A::Vec::<S>::splat(simd, unsafe { table.get(self.statistic) });
        }
        if let Some(output) = self.output.filter(|output| output.has_bits()) {
            self.bits = output.bits(self.row);
        }
    }

    /// Writes the next vectors, at most that many.
    #[inline(always)]
    fn advance(&mut self, simd: S, mut vectors: usize) {
        let Some(output) = self.output else { return };
        if !self.spread.is_null() {
            let whole = vectors.min((self.end - self.at) / Self::LANES);
            for _ in 0..whole {
                self.flat::<STREAM>(simd, output, Self::LANES);
            }
            if whole < vectors && self.at < self.end {
                self.flat::<false>(simd, output, self.end - self.at);
            }
            return;
        }
        while vectors > 0 && self.at < self.end {
            let whole = vectors.min((self.row_end - self.at) / Self::LANES);
            if whole == 0 {
                self.across(simd, Self::LANES.min(self.end - self.at));
                vectors -= 1;
                continue;
            }
            let (k, mut at, ahead) = (self.k, self.at, self.ahead);
            for _ in 0..whole {
                if ahead > 0 {
                    output.prefetch(simd, at + ahead);
                }
                // SAFETY: a vector of the strip, within a row.
                let mut loaded = unsafe { output.load(simd, at, Self::LANES) };
                if output.by_rows() {
                    let s = at - self.row.element;
                    // SAFETY: the same.
                    let lanes = unsafe { output.lanes(self.row, s, Self::LANES) };
                    loaded = output.restrict(loaded, lanes);
                }
                let z = output.finish(simd, loaded, output.compute(loaded, &k));
                if output.has_bits() {
                    // SAFETY: the row's own bits.
                    unsafe { self.bits.push(output.open(simd, z), Self::LANES) };
                }
                // SAFETY: the same; a whole vector is aligned where stores bypass the cache.
                unsafe { output.store::<S, STREAM>(simd, loaded, z, at, Self::LANES) };
                at += Self::LANES;
            }
            self.at = at;
            vectors -= whole;
            self.turn(simd);
        }
    }

    /// Writes `count` lanes with coefficients that are spread out.
    #[inline(always)]
    fn flat<const TO_MEMORY: bool>(&mut self, simd: S, output: W, count: usize) {
        let from = self.spread.wrapping_add(self.at - self.start);
        let mut k = [A::Vec::<S>::splat(simd, A::Scalar::default()); N];
        for (i, k) in k.iter_mut().enumerate() {
            // SAFETY: from every place of a strip on, there is a vector of coefficients.
            *k = unsafe { A::Vec::<S>::load(simd, from.wrapping_add(i * SPREAD)) };
        }
        if self.ahead > 0 {
            output.prefetch(simd, self.at + self.ahead);
        }
        // SAFETY: values of the strip.
        let loaded = unsafe { output.load(simd, self.at, count) };
        let z = output.finish(simd, loaded, output.compute(loaded, &k));
        // SAFETY: the same; a whole vector is aligned where stores bypass the cache.
        unsafe { output.store::<S, TO_MEMORY>(simd, loaded, z, self.at, count) };
        self.at += count;
    }

    /// Writes a vector in which rows end, or the strip, or its lines begin: `count` lanes.
    #[inline(always)]
    fn across(&mut self, simd: S, count: usize) {
        let Some(output) = self.output else { return };
        let start = self.at;
        // SAFETY: values of the strip.
        let mut loaded = unsafe { output.load(simd, start, count) };
        let mut z = A::Vec::<S>::splat(simd, A::Scalar::default());
        let mut done = 0;
        while done < count {
            let len = (self.row_end - self.at).min(count - done);
            let mine = first_lanes(len) << done;
            if output.by_rows() {
                let s = self.at - self.row.element;
                // SAFETY: the same.
                let [pass, valid] = unsafe { output.lanes(self.row, s, len) };
                // Lanes of other rows pass, as they have passed already or will.
                loaded = output.restrict(loaded, [pass << done | !mine, valid << done | !mine]);
            }
            let here = output.finish(simd, loaded, output.compute(loaded, &self.k));
            if output.has_bits() {
                // SAFETY: the row's own bits.
                unsafe { self.bits.push(output.open(simd, here) >> done, len) };
            }
            z = z.select(here, mine);
            self.at += len;
            done += len;
            self.turn(simd);
        }
        // SAFETY: values of the strip; whole vectors are aligned where stores bypass the cache.
        unsafe {
            if count == Self::LANES {
                output.store::<S, STREAM>(simd, loaded, z, start, count);
            } else {
                output.store::<S, false>(simd, loaded, z, start, count);
            }
        }
    }

    /// Goes on to the next row at the end of one.
    #[inline(always)]
    fn turn(&mut self, simd: S) {
        if self.at == self.row_end {
            if self.output.is_some_and(|output| output.has_bits()) {
                // SAFETY: the row's own bits.
                unsafe { self.bits.end() };
            }
            if self.at < self.end {
                self.next_row(simd);
            }
        }
    }

    #[inline(always)]
    fn next_row(&mut self, simd: S) {
        self.statistic += 1;
        self.row.element += self.problem.0;
        self.row.byte += self.problem.1;
        self.row_end = self.row.element + self.row.len;
        self.begin_row(simd);
    }
}
