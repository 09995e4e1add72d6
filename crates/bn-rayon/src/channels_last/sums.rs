//! The sums of channels-last: rows of one value per channel, so lanes are channels.
//!
//! A tile is taken as runs of rows side by side, each in the order of the memory, and a row of each is added
//! before the next: the processor follows all of them, and memory has more pages open than for one. The sums
//! of a few vectors stay in registers; those of longer rows are in the first-level cache.

use core::ops::Range;

use bn_core::Element;

use super::table::LoadLanes;
use crate::channels_first::Given;
use crate::run::{Minus, Pass, Through, load, passed};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector};
use crate::tile::{Cut, Tile};

/// Rows whose values are added in the lanes' own precision before they go into `f64`.
const CHAIN: usize = 4;

/// How many runs of x go side by side, and how many of dy and as many of x.
const RUNS: [usize; 2] = [8, 4];

/// A run is one row shorter where it has more than that: lines that are a power of two apart compete for the
/// same places of the caches.
const LONG: usize = 32;

/// Vectors that are added over all runs before the next. Four take 29 of the 32 registers of AVX-512, for sums,
/// chains and what is subtracted; with AVX2, which has not as many, fewer were no faster.
const WIDTH: usize = 4;

/// Adds two sums of `count` channels to those from channel `c` on; `ALL` where that is a vector of them.
///
/// # Safety
///
/// These can be read and written.
#[inline(always)]
unsafe fn accumulate<A: Access, S: Simd, const ALL: bool>(
    simd: S,
    sums: [[S::F64; 2]; 2],
    to: [*mut f64; 2],
    c: usize,
    count: usize,
) {
    for (values, to) in sums.iter().zip(to) {
        for half in 0..A::Vec::<S>::LANES / 8 {
            let (to, values) = (to.wrapping_add(c + 8 * half), values[half]);
            let count = count.saturating_sub(8 * half);
            if ALL || count >= 8 {
                // SAFETY: eight sums.
                let old = unsafe { S::F64::load(simd, to) };
                // SAFETY: the same.
                unsafe { old.add(values).store(to) };
            } else if count > 0 {
                // SAFETY: the sums that are there.
                let old = unsafe { S::F64::load_first(simd, to, count) };
                // SAFETY: the same.
                unsafe { old.add(values).store_first(to, count) };
            }
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
///
/// By value everywhere: behind references pointers would be read again for every vector, for stores might
/// have changed them.
pub(crate) trait Columns<A: Access>: Copy {
    /// What the values of `count` channels from `c` on are compared with.
    ///
    /// # Safety
    ///
    /// The tile has these channels.
    unsafe fn hold<S: Simd>(self, simd: S, c: usize, count: usize) -> A::Vec<S>;

    /// a and b of `count` channels of a row from `c` on, a multiple of 8.
    ///
    /// # Safety
    ///
    /// The tile has this row and these channels.
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        held: Minus<A::Vec<S>>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>);
}

/// Runs of rows side by side: the first row of the first, how many rows there are from one to the next, and
/// how many rows each has.
#[derive(Clone, Copy)]
struct Runs {
    first: usize,
    apart: usize,
    len: usize,
}

/// Adds `W` vectors of each row of `N` runs, channels from `c` on; of the last vector the first `last` lanes.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
unsafe fn downwards<A: Access, S: Simd, const W: usize, const N: usize>(
    simd: S,
    columns: impl Columns<A>,
    minus: Minus<A::Vec<S>>,
    runs: Runs,
    c: usize,
    last: usize,
    to: [*mut f64; 2],
) {
    const { assert!(N < CHAIN || N.is_multiple_of(CHAIN), "runs are added in whole chains") };
    let lanes = A::Vec::<S>::LANES;
    let zero = A::Vec::<S>::splat(simd, A::Scalar::default());
    let count = |w| if w + 1 == W { last } else { lanes };
    let mut sums = [[[S::F64::splat(simd, 0.0); 2]; 2]; W];
    let mut held = [minus; W];
    for (w, held) in held.iter_mut().enumerate() {
        // SAFETY: the caller's, here and below.
        *held = minus.of(simd, unsafe { columns.hold(simd, c + w * lanes, count(w)) });
    }
    for row in runs.first..runs.first + runs.len {
        for chain in 0..N.div_ceil(CHAIN) {
            let row = row + chain * CHAIN * runs.apart;
            let mut chains = [[zero; 2]; W];
            for i in 0..N.min(CHAIN) {
                for (w, (chains, held)) in chains.iter_mut().zip(&held).enumerate() {
                    let (row, c) = (row + i * runs.apart, c + w * lanes);
                    // SAFETY: the same.
                    let (a, b) = unsafe { columns.lanes(simd, *held, row, c, count(w)) };
                    *chains = [chains[0].add(a), a.mul_add(b, chains[1])];
                }
            }
            for (sums, chains) in sums.iter_mut().zip(&chains) {
                for (sums, chain) in sums.iter_mut().zip(chains) {
                    let [low, high] = chain.widen();
                    *sums = [sums[0].add(low), sums[1].add(high)];
                }
            }
        }
    }
    // Whole vectors apart and without a choice, so that the loop is unrolled and all sums are in registers.
    for (w, sums) in sums.iter().enumerate().take(W - 1) {
        // SAFETY: the same.
        unsafe { accumulate::<A, S, true>(simd, *sums, to, c + w * lanes, lanes) };
    }
    // SAFETY: the same.
    unsafe { accumulate::<A, S, false>(simd, sums[W - 1], to, c + (W - 1) * lanes, last) };
}

/// Adds the rows of `N` runs, a few vectors of all before the next.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
unsafe fn add_runs<A: Access, S: Simd, const N: usize>(
    simd: S,
    columns: impl Columns<A>,
    minus: Minus<A::Vec<S>>,
    channels: &Range<usize>,
    runs: Runs,
    to: [*mut f64; 2],
) {
    let lanes = A::Vec::<S>::LANES;
    let mut c = channels.start;
    while c < channels.end {
        let vectors = match (channels.end - c).div_ceil(lanes) {
            WIDTH.. => WIDTH,
            // Single rows are few, but behind a mask: another width would be more code.
            2.. if N > 1 => 2,
            _ => 1,
        };
        let end = channels.end.min(c + vectors * lanes);
        let last = end - c - (vectors - 1) * lanes;
        macro_rules! add {
            ($vectors:expr) => {
                // SAFETY: the caller's.
                unsafe {
                    downwards::<A, S, { $vectors }, N>(simd, columns, minus, runs, c, last, to)
                }
            };
        }
        match vectors {
            WIDTH => add!(WIDTH),
            2 if N > 1 => add!(2),
            _ => add!(1),
        }
        c = end;
    }
}

/// Adds rows that follow each other: [`CHAIN`] of them at a time, and the rest one by one.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
pub(crate) unsafe fn add_rows<A: Access, S: Simd>(
    simd: S,
    columns: impl Columns<A>,
    channels: &Range<usize>,
    rows: &Range<usize>,
    to: [*mut f64; 2],
) {
    let minus = Minus::new(simd, A::Vec::<S>::splat(simd, A::Scalar::default()));
    let mut first = rows.start;
    while first + CHAIN <= rows.end {
        let runs = Runs { first, apart: 1, len: 1 };
        // SAFETY: the caller's, here and below.
        unsafe { add_runs::<A, S, CHAIN>(simd, columns, minus, channels, runs, to) };
        first += CHAIN;
    }
    let rest = Runs { first, apart: 0, len: rows.end - first };
    // SAFETY: the same.
    unsafe { add_runs::<A, S, 1>(simd, columns, minus, channels, rest, to) };
}

/// Adds all rows of a tile, in `N` runs and what is left over.
#[inline(always)]
fn add_tile<A: Access, S: Simd, const N: usize>(
    simd: S,
    columns: impl Columns<A>,
    cut: &Cut,
    tile: &Tile,
    to: [*mut f64; 2],
) {
    let (channels, rows) = (&tile.channels, cut.rows(tile));
    let minus = Minus::new(simd, A::Vec::<S>::splat(simd, A::Scalar::default()));
    let apart = rows.len() / N;
    let apart = if apart > LONG { apart - 1 } else { apart };
    // Where one width has all channels, their sums can stay in registers for the whole tile. The problem decides, for
    // it is another order of additions, and a tile may have some of the channels.
    let vectors = cut.problem.channels().div_ceil(A::Vec::<S>::LANES);
    let at_once = matches!(vectors, 1 | 2 | WIDTH);
    let (steps, len) = if at_once { (1, apart) } else { (apart, 1) };
    for first in rows.start..rows.start + steps {
        // SAFETY: rows of the tile; the sums are what `clear` says.
        unsafe {
            add_runs::<A, S, N>(simd, columns, minus, channels, Runs { first, apart, len }, to);
        };
    }
    let first = rows.start + N * apart;
    let rest = Runs { first, apart: 0, len: rows.end - first };
    // SAFETY: the same.
    unsafe { add_runs::<A, S, 1>(simd, columns, minus, channels, rest, to) };
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

/// d and d.
#[derive(Clone, Copy)]
struct Deviations<A: Access> {
    channels: usize,
    x: Shared<A::Stored>,
    shift: *const A::Scalar,
}

impl<A: Access> Columns<A> for Deviations<A> {
    #[inline(always)]
    unsafe fn hold<S: Simd>(self, simd: S, c: usize, count: usize) -> A::Vec<S> {
        // SAFETY: the channels have shifts.
        unsafe { A::Scalar::load::<A, S>(simd, self.shift.wrapping_add(c), count) }
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        shift: Minus<A::Vec<S>>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let x = self.x.at(row * self.channels + c);
        // SAFETY: the caller's.
        let d = shift.from(unsafe { load::<A, S>(simd, x, count) });
        (d, d)
    }
}

impl<A: Access> Kernel for SumDeviations<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (cut, tile, channels) = (self.cut, &self.tile, self.cut.problem.channels());
        let to = clear(cut, tile, self.sums);
        let shift = self.shift.at(tile.group * channels);
        let columns = Deviations::<A> { channels, x: self.x, shift };
        let Some(mask) = self.mask else {
            return add_tile::<A, S, { RUNS[0] }>(simd, columns, cut, tile, to);
        };
        let minus = Minus::new(simd, A::Vec::<S>::splat(simd, A::Scalar::default()));
        for r in cut.rows(tile) {
            // SAFETY: the position of a row of the tile.
            if unsafe { mask.get(r) } != 0 {
                let row = Runs { first: r, apart: 0, len: 1 };
                // SAFETY: the row; the sums are what `clear` says.
                unsafe { add_runs::<A, S, 1>(simd, columns, minus, &tile.channels, row, to) };
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

/// dy and x − centre.
#[derive(Clone, Copy)]
struct Gradients<A: Access, const PLAIN: bool> {
    channels: usize,
    x: Shared<A::Stored>,
    dy: Shared<A::Stored>,
    through: Through<A::Stored>,
    centre: *const A::Scalar,
}

impl<A: Access, const PLAIN: bool> Columns<A> for Gradients<A, PLAIN> {
    #[inline(always)]
    unsafe fn hold<S: Simd>(self, simd: S, c: usize, count: usize) -> A::Vec<S> {
        // SAFETY: the channels have centres.
        unsafe { A::Scalar::load::<A, S>(simd, self.centre.wrapping_add(c), count) }
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd>(
        self,
        simd: S,
        centre: Minus<A::Vec<S>>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let (channels, at) = (self.channels, row * self.channels);
        let pass = if PLAIN { Pass::Everything } else { pass_of(self.through, channels, row) };
        // SAFETY: the caller's.
        let dy = unsafe { passed::<A, S>(simd, self.dy.at(at), pass, c, count) };
        // SAFETY: the same.
        let x = unsafe { load::<A, S>(simd, self.x.at(at + c), count) };
        (dy, centre.from(x))
    }
}

impl<A: Access, const PLAIN: bool> Kernel for SumGradients<'_, A, PLAIN> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Given { dy, through, x: Some(x), .. } = self.given else { return };
        let (cut, tile, channels) = (self.cut, &self.tile, self.cut.problem.channels());
        let to = clear(cut, tile, self.sums);
        let centre = self.centre.at(tile.group * channels);
        let columns = Gradients::<A, PLAIN> { channels, x, dy, through, centre };
        add_tile::<A, S, { RUNS[1] }>(simd, columns, cut, tile, to);
    }
}
