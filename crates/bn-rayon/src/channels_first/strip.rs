//! The kernel of channels-first: strips of one unit are summed while those of another are written.
//!
//! A strip is what a unit's channels have of one sample: rows that follow each other in memory. Sums
//! read memory and outputs go past the cache; taken in turns, some hundred bytes of each, the two overlap,
//! where one after the other they add up. Memory may like it besides when strips of several samples are
//! walked side by side: see [`crate::tuning`].

use core::ops::Range;

use super::outputs::{Output, Row, Stride, Sum};
use super::sums::{Accs, SumRows, blocks};
use crate::bits::BitStream;
use crate::run::{BLOCK, until_aligned};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector, first_lanes};
use crate::tile::{ABREAST, Cut, Tile};
use crate::tuning::Tuning;

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
    /// How memory is walked; `None` where tensors are in the cache.
    pub(crate) walk: Option<Tuning>,
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
        match self.walk {
            // For no other stores: it would be code for little.
            Some(Tuning { abreast: Some(turn), .. })
                if STREAM && (W::ABREAST || self.sum.is_none()) =>
            {
                self.strips::<S, ABREAST>(simd, turn);
            }
            walk => self.strips::<S, 1>(simd, walk.map_or(usize::MAX, |walk| walk.turn)),
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
    /// At most so many strips side by side, in turns of so many bytes; more than one only where rows are long.
    #[inline(always)]
    fn strips<S: Simd, const MOST: usize>(&self, simd: S, turn: usize) {
        let blocks = blocks::<A, S>(turn);
        let mut left = self.write.0.strips.clone();
        let (mut acc, mut both) = (Accs::new(), [[S::F64::splat(simd, 0.0); 2]; MOST]);
        let mut sums = self.sum.as_ref().map(|sum| sum.begin(simd, &mut acc, &mut both));
        let mut bits = [BitStream::default(); MOST];
        // One loop and one place where vectors are written: each is some hundreds of instructions.
        loop {
            let strips = take::<MOST>(self.cut, &mut left, self.forwards);
            let mut summing = sums.as_mut().is_some_and(|sums| sums.next_strips(simd));
            if strips.is_empty() && !summing {
                break;
            }
            let turn = if MOST == 1 { usize::MAX } else { blocks * BLOCK };
            let mut cursor = self.cursor(simd, strips, &mut bits);
            while summing || cursor.at < cursor.end {
                let vectors = match &mut sums {
                    Some(sums) if summing => sums.next_turn(simd, blocks),
                    _ => None,
                };
                summing = vectors.is_some();
                cursor.advance(simd, vectors.unwrap_or(turn));
            }
        }
    }

    #[inline(always)]
    fn cursor<'b, S: Simd, const MOST: usize>(
        &self,
        simd: S,
        strips: Range<usize>,
        bits: &'b mut [BitStream; MOST],
    ) -> Cursor<'b, A, W, S, N, STREAM, MOST> {
        if strips.is_empty() {
            return Cursor::nothing(simd, self.table, bits);
        }
        let (Span { tile, .. }, output) = &self.write;
        let row = row_of(self.cut, tile, strips.start, tile.channels.start);
        let mut cursor = Cursor {
            output: Some(*output),
            table: self.table,
            statistic: tile.group * self.cut.problem.channels() + tile.channels.start,
            strips: strips.len(),
            row,
            channel: Stride::channel(self.cut),
            sample: Stride::sample(self.cut),
            at: row.element,
            row_end: row.element + row.len,
            end: row.element + row.len * tile.channels.len(),
            k: [A::Vec::<S>::splat(simd, A::Scalar::default()); N],
            bits,
            ahead: if self.sum.is_some() { 0 } else { self.ahead / size_of::<A::Stored>() },
        };
        cursor.begin_row(simd);
        cursor
    }
}

/// The next strips that are walked side by side, as many as there may be or one.
#[inline(always)]
pub(super) fn take<const MOST: usize>(
    cut: &Cut,
    left: &mut Range<usize>,
    forwards: bool,
) -> Range<usize> {
    let count = if left.len() < MOST || !cut.is_even() { left.len().min(1) } else { MOST };
    if forwards {
        left.start += count;
        left.start - count..left.start
    } else {
        left.end -= count;
        left.end..left.end + count
    }
}

/// Where some strips side by side are written, vector by vector, across the ends of their rows. All places are
/// those of the first of them.
struct Cursor<'b, A: Access, W, S: Simd, const N: usize, const STREAM: bool, const MOST: usize> {
    /// By value: behind a reference its pointers are read again for every vector, for stores might have
    /// changed them.
    output: Option<W>,
    table: [Shared<A::Scalar>; N],
    /// That of the row at `at`.
    statistic: usize,
    strips: usize,
    row: Row,
    channel: Stride,
    sample: Stride,
    at: usize,
    row_end: usize,
    end: usize,
    k: [A::Vec<S>; N],
    /// Of each strip; borrowed for the same reason as [`super::sums::InTurns`] does it.
    bits: &'b mut [BitStream; MOST],
    ahead: usize,
}

impl<'b, A, W, S, const N: usize, const STREAM: bool, const MOST: usize>
    Cursor<'b, A, W, S, N, STREAM, MOST>
where
    A: Access,
    W: Output<A, N>,
    S: Simd,
{
    const LANES: usize = A::Vec::<S>::LANES;

    /// A strip of no length.
    #[inline(always)]
    fn nothing(simd: S, table: [Shared<A::Scalar>; N], bits: &'b mut [BitStream; MOST]) -> Self {
        let k = [A::Vec::<S>::splat(simd, A::Scalar::default()); N];
        Self {
            output: None,
            table,
            statistic: 0,
            strips: 0,
            row: Row::default(),
            channel: Stride::default(),
            sample: Stride::default(),
            at: 0,
            row_end: 0,
            end: 0,
            k,
            bits,
            ahead: 0,
        }
    }

    /// How many values lie before the next place of a whole vector: none may lie in two lines past the cache, and
    /// within it those that do take longer.
    #[inline(always)]
    fn head(&self, output: W) -> usize {
        until_aligned::<A, S>(output.place(self.at))
    }

    /// How many strips there are: a constant where it can be one.
    #[inline(always)]
    fn count(&self) -> usize {
        if MOST == 1 { 1 } else { self.strips }
    }

    #[inline(always)]
    fn begin_row(&mut self, simd: S) {
        for (k, table) in self.k.iter_mut().zip(&self.table) {
            // SAFETY: the coefficients of a unit are there before it is written.
            *k = A::Vec::<S>::splat(simd, unsafe { table.get(self.statistic) });
        }
        if let Some(output) = self.output.filter(|output| output.has_bits()) {
            let mut row = self.row;
            let strips = self.count();
            for bits in &mut self.bits[..strips] {
                *bits = output.bits(row);
                row += self.sample;
            }
        }
    }

    /// Writes the next vectors of each strip, at most that many.
    #[inline(always)]
    fn advance(&mut self, simd: S, mut vectors: usize) {
        let Some(output) = self.output else { return };
        while vectors > 0 && self.at < self.end {
            let head = self.head(output);
            let whole =
                if head > 0 { 0 } else { vectors.min((self.row_end - self.at) / Self::LANES) };
            if whole == 0 {
                let count = if head > 0 { head } else { Self::LANES };
                self.across(simd, count.min(self.end - self.at));
                vectors -= 1;
                continue;
            }
            let (k, ahead, mut row) = (self.k, self.ahead, self.row);
            let strips = self.count();
            for bits in &mut self.bits[..strips] {
                let mut at = row.element + self.at - self.row.element;
                for _ in 0..whole {
                    if ahead > 0 {
                        output.prefetch(simd, at + ahead);
                    }
                    // SAFETY: a vector of the strip, within a row.
                    let mut loaded = unsafe { output.load(simd, at, Self::LANES) };
                    if output.by_rows() {
                        // SAFETY: the same.
                        let lanes = unsafe { output.lanes(row, at - row.element, Self::LANES) };
                        loaded = output.restrict(loaded, lanes);
                    }
                    let z = output.finish(simd, loaded, output.compute(loaded, &k));
                    if output.has_bits() {
                        // SAFETY: the row's own bits.
                        unsafe { bits.push::<A::Vec<S>>(output.open(simd, z), Self::LANES) };
                    }
                    // SAFETY: the same; a whole vector is aligned where stores bypass the cache.
                    unsafe { output.store::<S, STREAM>(simd, loaded, z, at, Self::LANES) };
                    at += Self::LANES;
                }
                row += self.sample;
            }
            self.at += whole * Self::LANES;
            vectors -= whole;
            self.turn(simd);
        }
    }

    /// Writes a vector of each strip in which rows end, or the strip, or its lines begin: `count` lanes.
    #[inline(always)]
    fn across(&mut self, simd: S, count: usize) {
        let Some(output) = self.output else { return };
        let (start, strips) = (self.at, self.count());
        let mut z = [A::Vec::<S>::splat(simd, A::Scalar::default()); MOST];
        // SAFETY: values of the strips, here and below.
        let mut loaded = [unsafe { output.load(simd, start, count) }; MOST];
        for (strip, loaded) in loaded[..strips].iter_mut().enumerate().skip(1) {
            // SAFETY: the same.
            *loaded = unsafe { output.load(simd, start + strip * self.sample.element, count) };
        }
        let mut done = 0;
        while done < count {
            let len = (self.row_end - self.at).min(count - done);
            let (mine, mut row) = (first_lanes(len) << done, self.row);
            for ((loaded, z), bits) in loaded[..strips].iter_mut().zip(&mut z).zip(&mut *self.bits)
            {
                if output.by_rows() {
                    let s = self.at - self.row.element;
                    // SAFETY: the same.
                    let [pass, valid] = unsafe { output.lanes(row, s, len) };
                    // Lanes of other rows pass, as they have passed already or will.
                    let lanes = [pass << done | !mine, valid << done | !mine];
                    *loaded = output.restrict(*loaded, lanes);
                }
                let here = output.finish(simd, *loaded, output.compute(*loaded, &self.k));
                if output.has_bits() {
                    // SAFETY: the row's own bits.
                    unsafe { bits.push::<A::Vec<S>>(output.open(simd, here) >> done, len) };
                }
                *z = z.select(here, mine);
                row += self.sample;
            }
            self.at += len;
            done += len;
            self.turn(simd);
        }
        for (strip, (loaded, z)) in loaded.into_iter().zip(z).enumerate().take(strips) {
            let at = start + strip * self.sample.element;
            // SAFETY: the same; whole vectors are aligned where stores bypass the cache.
            unsafe {
                if count == Self::LANES {
                    output.store::<S, STREAM>(simd, loaded, z, at, count);
                } else {
                    output.store::<S, false>(simd, loaded, z, at, count);
                }
            }
        }
    }

    /// Goes on to the next row at the end of one.
    #[inline(always)]
    fn turn(&mut self, simd: S) {
        if self.at == self.row_end {
            if self.output.is_some_and(|output| output.has_bits()) {
                let strips = self.count();
                for bits in &mut self.bits[..strips] {
                    // SAFETY: the row's own bits.
                    unsafe { bits.end() };
                }
            }
            if self.at < self.end {
                self.next_row(simd);
            }
        }
    }

    #[inline(always)]
    fn next_row(&mut self, simd: S) {
        self.statistic += 1;
        self.row += self.channel;
        self.row_end = self.row.element + self.row.len;
        self.begin_row(simd);
    }
}
