//! The sums of channels-last: rows of one value per channel, so lanes are channels.
//!
//! Rows are taken in blocks of a few kilobytes, and a block by runs of a few vectors downwards, so that the
//! sums of a run stay in registers. Beside that the next block is asked for as it lies in memory, which
//! the processor follows, and into the second-level cache: the first has no room for two blocks. Rows of a
//! single run lie in the order in which they are summed, and need no asking.

use core::ops::Range;

use bn_core::Element;

use super::table::LoadLanes;
use crate::channels_first::Given;
use crate::run::{Pass, Through, load, passed};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector};
use crate::tile::{Cut, Tile};
use crate::tuning::Hint;

/// Rows whose values are added in the lanes' own precision before they go into `f64`.
const CHAIN: usize = 4;

/// Bytes of a block, of x, or of dy and x together, if it is more than four rows.
const BLOCK: usize = 16 << 10;

/// Vectors of a run. The sums of four take 28 of the 32 registers of AVX-512.
const RUN: usize = 4;

/// Adds eight values to eight sums, of which the first `count` are there.
///
/// # Safety
///
/// These can be read and written.
#[inline(always)]
unsafe fn accumulate<S: Simd>(simd: S, values: S::F64, sums: *mut f64, count: usize) {
    if count >= 8 {
        // SAFETY: eight sums.
        let old = unsafe { S::F64::load(simd, sums) };
        // SAFETY: the same.
        unsafe { old.add(values).store(sums) };
    } else if count > 0 {
        // SAFETY: the sums that are there.
        let old = unsafe { S::F64::load_first(simd, sums, count) };
        // SAFETY: the same.
        unsafe { old.add(values).store_first(sums, count) };
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
        held: A::Vec<S>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>);

    /// Asks for the lines of an element, which need not be one, where [`add_rows`] is to ask.
    fn ask<S: Simd>(self, _simd: S, _element: usize) {}
}

/// Adds `W` vectors of each of some rows, channels from `c` on; of the last vector the first `last` lanes.
/// Where `ASK`, as many values are asked for from element `ahead` on, which is moved behind them: in whichever
/// order rows are summed, memory is asked for as it lies.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
unsafe fn downwards<A: Access, S: Simd, const W: usize, const ASK: bool>(
    simd: S,
    columns: impl Columns<A>,
    rows: &Range<usize>,
    c: usize,
    last: usize,
    ahead: &mut usize,
    to: [*mut f64; 2],
) {
    let (lanes, line) = (A::Vec::<S>::LANES, 64 / size_of::<A::Stored>());
    let zero = A::Vec::<S>::splat(simd, A::Scalar::default());
    let count = |w| if w + 1 == W { last } else { lanes };
    let mut sums = [[[S::F64::splat(simd, 0.0); 2]; 2]; W];
    let mut held = [zero; W];
    for (w, held) in held.iter_mut().enumerate() {
        // SAFETY: the caller's, here and below.
        *held = unsafe { columns.hold(simd, c + w * lanes, count(w)) };
    }
    let mut r = rows.start;
    while r < rows.end {
        let mut chains = [[zero; 2]; W];
        // A macro, for a closure would be compiled without the instruction set.
        macro_rules! add {
            ($row:expr) => {
                for (w, (chains, held)) in chains.iter_mut().zip(&held).enumerate() {
                    let c = c + w * lanes;
                    // SAFETY: the same.
                    let (a, b) = unsafe { columns.lanes(simd, *held, $row, c, count(w)) };
                    if ASK && (w * lanes).is_multiple_of(line) {
                        columns.ask(simd, *ahead + w * lanes);
                    }
                    *chains = [chains[0].add(a), a.mul_add(b, chains[1])];
                }
                *ahead += W * lanes;
            };
        }
        if r + CHAIN <= rows.end {
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
            for (half, values) in sums.into_iter().enumerate() {
                let to = to.wrapping_add(c + w * lanes + 8 * half);
                // SAFETY: the same.
                unsafe { accumulate::<S>(simd, values, to, count(w).saturating_sub(8 * half)) };
            }
        }
    }
}

/// Adds the values of some rows, run by run. Where `ASK`, as many are asked for from element `ahead` on.
///
/// # Safety
///
/// The tile has these rows and channels, and the sums are its own.
#[inline(always)]
pub(crate) unsafe fn add_rows<A: Access, S: Simd, const ASK: bool>(
    simd: S,
    columns: impl Columns<A>,
    channels: &Range<usize>,
    rows: &Range<usize>,
    mut ahead: usize,
    to: [*mut f64; 2],
) {
    let lanes = A::Vec::<S>::LANES;
    let mut c = channels.start;
    while c < channels.end {
        let vectors = match (channels.end - c).div_ceil(lanes) {
            RUN.. => RUN,
            // Behind other runs one vector at a time: there are few, and more lengths would be more code.
            2.. if !ASK => 2,
            _ => 1,
        };
        let end = channels.end.min(c + vectors * lanes);
        let last = end - c - (vectors - 1) * lanes;
        macro_rules! run {
            ($vectors:expr) => {
                // SAFETY: the caller's.
                unsafe {
                    downwards::<A, S, { $vectors }, ASK>(
                        simd, columns, rows, c, last, &mut ahead, to,
                    );
                }
            };
        }
        match vectors {
            RUN => run!(RUN),
            2 if !ASK => run!(2),
            _ => run!(1),
        }
        c = end;
    }
}

/// Whether rows of so many channels are a single run, so that they are summed in the order in which they lie.
#[inline(always)]
fn is_run<A: Access, S: Simd>(channels: usize) -> bool {
    channels <= RUN * A::Vec::<S>::LANES
}

/// Adds all rows of a tile, block by block.
#[inline(always)]
fn add_tile<A: Access, S: Simd>(
    simd: S,
    columns: impl Columns<A>,
    cut: &Cut,
    tile: &Tile,
    operands: usize,
    to: [*mut f64; 2],
) {
    let (channels, rows) = (cut.problem.channels(), cut.rows(tile));
    let row = channels * size_of::<A::Stored>() * operands;
    let height = (BLOCK / row / CHAIN * CHAIN).max(CHAIN);
    for r in rows.clone().step_by(height) {
        let (block, next) = (r..rows.end.min(r + height), (r + height) * channels);
        // SAFETY: rows of the tile; the sums are what `clear` says.
        unsafe {
            if is_run::<A, S>(channels) {
                add_rows::<A, S, false>(simd, columns, &tile.channels, &block, next, to);
            } else {
                add_rows::<A, S, true>(simd, columns, &tile.channels, &block, next, to);
            }
        }
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
        shift: A::Vec<S>,
        row: usize,
        c: usize,
        count: usize,
    ) -> (A::Vec<S>, A::Vec<S>) {
        let x = self.x.at(row * self.channels + c);
        // SAFETY: the caller's.
        let d = unsafe { load::<A, S>(simd, x, count) }.sub(shift);
        (d, d)
    }

    #[inline(always)]
    fn ask<S: Simd>(self, simd: S, element: usize) {
        simd.prefetch_into(Hint::Second, self.x.at(element).cast());
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
            return add_tile::<A, S>(simd, columns, cut, tile, 1, to);
        };
        for r in cut.rows(tile) {
            // SAFETY: the position of a row of the tile.
            if unsafe { mask.get(r) } == 0 {
                continue;
            }
            let (row, ahead) = (r..r + 1, r * channels + BLOCK / size_of::<A::Stored>());
            // SAFETY: the row; the sums are what `clear` says.
            unsafe {
                if is_run::<A, S>(channels) {
                    add_rows::<A, S, false>(simd, columns, &tile.channels, &row, ahead, to);
                } else {
                    add_rows::<A, S, true>(simd, columns, &tile.channels, &row, ahead, to);
                }
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
        centre: A::Vec<S>,
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
        (dy, x.sub(centre))
    }

    #[inline(always)]
    fn ask<S: Simd>(self, simd: S, element: usize) {
        simd.prefetch_into(Hint::Second, self.x.at(element).cast());
        simd.prefetch_into(Hint::Second, self.dy.at(element).cast());
        if let Through::Output(y) = self.through {
            simd.prefetch_into(Hint::Second, y.at(element).cast());
        }
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
        add_tile::<A, S>(simd, columns, cut, tile, 2, to);
    }
}
