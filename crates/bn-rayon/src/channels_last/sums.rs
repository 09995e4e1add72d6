//! The sums of channels-last: rows of one value per channel, so lanes are channels.
//!
//! Rows are taken in chunks of a few kilobytes, which are asked for while the chunk before is summed, and a
//! chunk by pairs of vectors downwards, so that the sums of a pair stay in registers. Whole rows at once,
//! eight or sixteen beside each other, were slower by half: where rows are a multiple of a page apart
//! their lines compete for the same few places of the first-level cache.

use core::ops::Range;

use bn_core::Element;

use super::table::LoadLanes;
use crate::channels_first::Given;
use crate::run::{Pass, Through, load, passed};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector};
use crate::tile::{Cut, Tile};

/// Rows whose values are added in the lanes' own precision before they go into `f64`.
const CHAIN: usize = 4;

/// Bytes of a chunk, all operands together, if it is more than four rows.
const CHUNK: usize = 16 << 10;

/// Bytes of rows of which the next chunk is asked for as it lies in memory; those of four longer rows fill a
/// chunk, and are asked for as they are summed.
const SHORT: usize = 2 << 10;

/// How many bytes ahead a row of a larger chunk is asked for.
const NEAR: usize = 1024;

/// Vectors that are summed downwards side by side.
const WIDTH: usize = 2;

/// Adds the lanes of `value`, in two halves, to `count` sums.
///
/// # Safety
///
/// The sums can be read and written.
#[inline(always)]
unsafe fn accumulate<S: Simd>(simd: S, value: [S::F64; 2], sums: *mut f64, count: usize) {
    for (i, half) in value.into_iter().enumerate() {
        let at = 8 * i;
        if at + 8 <= count {
            // SAFETY: eight sums from `at`.
            let old = unsafe { S::F64::load(simd, sums.add(at)) };
            // SAFETY: the same.
            unsafe { old.add(half).store(sums.add(at)) };
        } else if at < count {
            // SAFETY: the sums that are left.
            let old = unsafe { S::F64::load_first(simd, sums.add(at), count - at) };
            // SAFETY: the same.
            unsafe { old.add(half).store_first(sums.add(at), count - at) };
        }
    }
}

/// Sets the sums of a tile to 0 and returns where they begin, for each of the two less the channels
/// before the tile's.
fn clear(cut: &Cut, tile: &Tile, sums: [Shared<f64>; 2]) -> [*mut f64; 2] {
    let problem = cut.problem;
    let first = tile.part * problem.statistics() + tile.group * problem.channels();
    sums.map(|sums| {
        for c in tile.channels.clone() {
            // SAFETY: the place of this tile's part and channels, which no other tile has.
            unsafe { sums.set(first + c, 0.0) };
        }
        sums.at(first)
    })
}

/// Two sums over the rows of a tile, of a and of a·b.
pub(crate) trait Columns<A: Access> {
    /// What the values of some channels are compared with.
    type Held<S: Simd>: Copy;

    /// Loads it for `count` channels from `c` on.
    ///
    /// # Safety
    ///
    /// The tile has these channels.
    unsafe fn hold<S: Simd>(&self, simd: S, c: usize, count: usize) -> Self::Held<S>;

    /// a and b of `count` channels of a row from `c` on, a multiple of 8.
    ///
    /// # Safety
    ///
    /// The tile has this row and these channels.
    unsafe fn lanes<S: Simd>(
        &self,
        simd: S,
        held: Self::Held<S>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>);

    /// The element at which a value lies.
    fn element(&self, row: usize, c: usize) -> usize;

    /// Asks for the lines of an element, which need not be one.
    fn ask<S: Simd>(&self, simd: S, element: usize);
}

/// Which memory is asked for while some rows are summed: with an element e, element (e & mask) + at.
/// In numbers, for a choice at every vector costs more than asking.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    mask: usize,
    at: usize,
    /// What `at` grows by with each vector.
    step: usize,
    /// How many values lie between these rows and the next, where memory is asked for along rows; or 0.
    rows: usize,
}

impl Ahead {
    /// So many values behind each.
    #[inline(always)]
    pub(crate) fn by(values: usize) -> Self {
        Self { mask: usize::MAX, at: values, step: 0, rows: 0 }
    }

    /// So many values behind each in the same rows, and at their end the beginning of the next ones.
    #[inline(always)]
    fn along(values: usize, rows: usize) -> Self {
        Self { rows, ..Self::by(values) }
    }

    /// From an element on, vector by vector: in whichever order rows are summed, memory is read as it lies,
    /// which the prefetchers of the next caches follow.
    #[inline(always)]
    fn from(at: usize, lanes: usize) -> Self {
        Self { mask: 0, at, step: lanes, rows: 0 }
    }

    /// The same where channels from `c` on are summed.
    #[inline(always)]
    fn past(self, c: usize, channels: &Range<usize>) -> Self {
        let is_last = self.rows > 0 && c + self.at >= channels.end;
        Self { at: if is_last { self.at + self.rows - channels.len() } else { self.at }, ..self }
    }

    #[inline(always)]
    fn next(&mut self, element: usize) -> usize {
        let asked = (element & self.mask) + self.at;
        self.at += self.step;
        asked
    }
}

/// Adds `W` vectors of each of some rows, channels from `c` on; of the only vector the first `count` lanes.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
unsafe fn downwards<A: Access, S: Simd, const W: usize>(
    simd: S,
    columns: &impl Columns<A>,
    rows: (usize, usize),
    c: usize,
    count: usize,
    ahead: &mut Ahead,
    to: [*mut f64; 2],
) {
    let lanes = A::Vec::<S>::LANES;
    let zero = A::Vec::<S>::splat(simd, A::Scalar::default());
    let mut sums = [[[S::F64::splat(simd, 0.0); 2]; 2]; W];
    // SAFETY: the caller's, here and below.
    let mut held = [unsafe { columns.hold(simd, c, count) }; W];
    for (w, held) in held.iter_mut().enumerate() {
        // SAFETY: the same.
        *held = unsafe { columns.hold(simd, c + w * lanes, count) };
    }
    let mut r = rows.0;
    while r < rows.1 {
        let mut chains = [[zero; 2]; W];
        // A macro, for a closure would be compiled without the instruction set.
        macro_rules! add {
            ($row:expr) => {
                for (w, (chains, held)) in chains.iter_mut().zip(&held).enumerate() {
                    let c = c + w * lanes;
                    // SAFETY: the same.
                    let (a, b) = unsafe { columns.lanes(simd, *held, $row, c, count) };
                    columns.ask(simd, ahead.next(columns.element($row, c)));
                    *chains = [chains[0].add(a), a.mul_add(b, chains[1])];
                }
            };
        }
        if r + CHAIN <= rows.1 {
            for i in 0..CHAIN {
                add!(r + i);
            }
            r += CHAIN;
        } else {
            add!(r);
            r += 1;
        }
        for (sums, chains) in sums.iter_mut().zip(&chains) {
            for (sums, chain) in sums.iter_mut().zip(chains) {
                let [low, high] = chain.widen();
                *sums = [sums[0].add(low), sums[1].add(high)];
            }
        }
    }
    for (w, sums) in sums.into_iter().enumerate() {
        for (sums, to) in sums.into_iter().zip(to) {
            // SAFETY: the same.
            unsafe { accumulate::<S>(simd, sums, to.add(c + w * lanes), count) };
        }
    }
}

/// Adds the values of some rows.
///
/// # Safety
///
/// The tile has these rows, and the sums are its own.
#[inline(always)]
pub(crate) unsafe fn add_rows<A: Access, S: Simd>(
    simd: S,
    columns: &impl Columns<A>,
    channels: &Range<usize>,
    rows: (usize, usize),
    given: Ahead,
    to: [*mut f64; 2],
) {
    let (lanes, end) = (A::Vec::<S>::LANES, channels.end);
    let mut ahead = given;
    let mut c = channels.start;
    while c < end {
        if given.rows > 0 {
            ahead = given.past(c, channels);
        }
        if c + WIDTH * lanes <= end {
            // SAFETY: the caller's, in this and all that follow.
            unsafe { downwards::<A, S, WIDTH>(simd, columns, rows, c, lanes, &mut ahead, to) };
            c += WIDTH * lanes;
            continue;
        }
        let count = lanes.min(end - c);
        // SAFETY: the same.
        unsafe { downwards::<A, S, 1>(simd, columns, rows, c, count, &mut ahead, to) };
        c += count;
    }
}

/// Adds all rows of a tile, chunk by chunk.
#[inline(always)]
fn add_tile<A: Access, S: Simd>(
    simd: S,
    columns: &impl Columns<A>,
    cut: &Cut,
    tile: &Tile,
    operands: usize,
    to: [*mut f64; 2],
) {
    let row = cut.problem.channels() * size_of::<A::Stored>() * operands;
    let height = (CHUNK / row / CHAIN * CHAIN).max(CHAIN);
    let rows = cut.rows(tile);
    let (lanes, channels) = (A::Vec::<S>::LANES, cut.problem.channels());
    // Rows of one pair are summed as they lie anyway.
    let is_short = channels > WIDTH * lanes && row / operands <= SHORT;
    let further = height * channels;
    let mut r = rows.start;
    while r < rows.end {
        let next = rows.end.min(r + height);
        let ahead = if height * row > CHUNK {
            Ahead::along(NEAR / size_of::<A::Stored>(), further)
        } else if is_short {
            Ahead::from(r * channels + further, lanes)
        } else {
            Ahead::by(further)
        };
        // SAFETY: rows of the tile; the sums are what `clear` says.
        unsafe { add_rows::<A, S>(simd, columns, &tile.channels, (r, next), ahead, to) };
        r = next;
    }
}

/// Σd and Σd² of each channel of a tile.
pub(crate) struct SumDeviations<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) mask: Option<Shared<u8>>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
}

impl<A: Access> Columns<A> for SumDeviations<'_, A> {
    type Held<S: Simd> = A::Vec<S>;

    #[inline(always)]
    unsafe fn hold<S: Simd>(&self, simd: S, c: usize, count: usize) -> A::Vec<S> {
        let first = self.tile.group * self.cut.problem.channels();
        // SAFETY: the channels have shifts.
        unsafe { A::Scalar::load::<A, S>(simd, self.shift.at(first + c), count) }
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        &self,
        simd: S,
        shift: A::Vec<S>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let at = self.element(row, c);
        // SAFETY: the caller's.
        let d = unsafe { load::<A, S>(simd, self.x.at(at), count) }.sub(shift);
        (d, d)
    }

    #[inline(always)]
    fn element(&self, row: usize, c: usize) -> usize {
        row * self.cut.problem.channels() + c
    }

    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S, element: usize) {
        simd.prefetch(self.x.at(element).cast());
    }
}

impl<A: Access> Kernel for SumDeviations<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (cut, tile) = (self.cut, &self.tile);
        let to = clear(cut, tile, self.sums);
        let Some(mask) = self.mask else {
            return add_tile::<A, S>(simd, &self, cut, tile, 1, to);
        };
        for r in cut.rows(tile) {
            // SAFETY: the position of a row of the tile.
            if unsafe { mask.get(r) } != 0 {
                let ahead = Ahead::by(cut.problem.channels());
                // SAFETY: the row; the sums are what `clear` says.
                unsafe { add_rows::<A, S>(simd, &self, &tile.channels, (r, r + 1), ahead, to) };
            }
        }
    }
}

/// The gate at the beginning of a row.
#[inline(always)]
pub(super) fn pass_of<T: Element>(through: Through<T>, channels: usize, row: usize) -> Pass<T> {
    through.from(row * channels, row * channels.div_ceil(8))
}

/// Σdy and Σdy·(x − centre) of each channel of a tile; `PLAIN` where the gate is open.
pub(crate) struct SumGradients<'a, A: Access, const PLAIN: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    /// The mean of each statistic as lanes hold it.
    pub(crate) centre: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
}

impl<A: Access, const PLAIN: bool> Columns<A> for (SumGradients<'_, A, PLAIN>, Shared<A::Stored>) {
    type Held<S: Simd> = A::Vec<S>;

    #[inline(always)]
    unsafe fn hold<S: Simd>(&self, simd: S, c: usize, count: usize) -> A::Vec<S> {
        let first = self.0.tile.group * self.0.cut.problem.channels();
        // SAFETY: the channels have centres.
        unsafe { A::Scalar::load::<A, S>(simd, self.0.centre.at(first + c), count) }
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        &self,
        simd: S,
        centre: A::Vec<S>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let (channels, Given { dy, through, .. }, x) =
            (self.0.cut.problem.channels(), self.0.given, self.1);
        let at = row * channels;
        let pass = if PLAIN { Pass::Everything } else { pass_of(through, channels, row) };
        // SAFETY: the caller's.
        let dy = unsafe { passed::<A, S>(simd, dy.at(at), pass, c, count) };
        // SAFETY: the same.
        let x = unsafe { load::<A, S>(simd, x.at(at + c), count) };
        (dy, x.sub(centre))
    }

    #[inline(always)]
    fn element(&self, row: usize, c: usize) -> usize {
        row * self.0.cut.problem.channels() + c
    }

    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S, element: usize) {
        simd.prefetch(self.1.at(element).cast());
        simd.prefetch(self.0.given.dy.at(element).cast());
    }
}

impl<A: Access, const PLAIN: bool> Kernel for SumGradients<'_, A, PLAIN> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Some(x) = self.given.x else { return };
        let (cut, tile) = (self.cut, self.tile.clone());
        let to = clear(cut, &tile, self.sums);
        add_tile::<A, S>(simd, &(self, x), cut, &tile, 2, to);
    }
}
