//! The sums of short rows.
//!
//! A strip of such rows is taken as one row of a channels-last tensor, whose columns are the positions of
//! all its channels: columns are summed downwards over the samples, without masks and without a sum across
//! lanes for every row, and those of a channel are added at the end.

use crate::channels_last::{Columns, add_rows};
use crate::run::{Minus, each_vector, load};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector, total};
use crate::tile::{Cut, Tile};
use crate::tuning::Hint;

/// How many strips ahead memory is asked for: as many as [`add_rows`] adds together.
const STRIPS: usize = 4;

/// Columns that are summed at a time, at most.
const COLUMNS: usize = 1024;

/// Two sums over each channel of a tile whose rows are short: of (x − K) and its square where there is no
/// dy, and of dy and dy·(x − K).
pub(crate) struct SumShort<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) dy: Option<Shared<A::Stored>>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
    /// Into which cache the next strips are asked for.
    pub(crate) hint: Hint,
}

/// A strip as a row of columns.
#[derive(Clone, Copy)]
struct Strips<A: Access, const GRADIENT: bool> {
    x: Shared<A::Stored>,
    dy: Shared<A::Stored>,
    /// The first element of the first sample's strip.
    first: usize,
    /// Elements between samples.
    stride: usize,
    /// K for every column.
    shift: *const A::Scalar,
    /// Into which cache the next strips are asked for.
    hint: Hint,
}

impl<A: Access, const GRADIENT: bool> Columns<A> for Strips<A, GRADIENT> {
    #[inline(always)]
    unsafe fn hold<S: Simd>(self, simd: S, c: usize, _: usize) -> A::Vec<S> {
        // SAFETY: a vector of numbers lies at every column.
        unsafe { A::Vec::<S>::load(simd, self.shift.wrapping_add(c)) }
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
        let at = self.first + row * self.stride + c;
        let next = at + STRIPS * self.stride;
        simd.prefetch_into(self.hint, self.x.at(next).cast());
        // SAFETY: the caller's.
        let d = shift.from(unsafe { load::<A, S>(simd, self.x.at(at), count) });
        if !GRADIENT {
            // Lanes beyond the strip are not stored.
            return (d, d);
        }
        simd.prefetch_into(self.hint, self.dy.at(next).cast());
        // SAFETY: the same.
        let dy = unsafe { load::<A, S>(simd, self.dy.at(at), count) };
        (dy, d)
    }
}

/// Numbers for each column, and room for a vector behind them.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row<R>([R; COLUMNS + 16]);

impl<A: Access> Kernel for SumShort<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let problem = self.cut.problem;
        let spatial = problem.spatial();
        // As many channels at a time as there is room for, and so many that lines begin with them.
        let most = COLUMNS / spatial;
        let most = if most < 16 { most } else { most / 16 * 16 };
        for first in self.tile.channels.clone().step_by(most) {
            let channels = first..self.tile.channels.end.min(first + most);
            let mut shifts = Row([A::Scalar::default(); COLUMNS + 16]);
            for (values, c) in shifts.0.chunks_exact_mut(spatial).zip(channels.clone()) {
                // SAFETY: the shift of each channel is written before its values are summed.
                values.fill(unsafe { self.shift.get(self.tile.group * problem.channels() + c) });
            }
            let mut sums = [Row([0.0; COLUMNS + 16]); 2];
            let to = sums.each_mut().map(|sums| sums.0.as_mut_ptr());
            let shift = shifts.0.as_ptr();
            let (x, dy, hint) = (self.x, self.dy.unwrap_or(self.x), self.hint);
            let stride = problem.channels() * spatial;
            let begin = problem.offset(0, first, 0);
            let columns = 0..channels.len() * spatial;
            let samples = self.cut.samples(&self.tile).0;
            // SAFETY: samples and channels of the tile, and as many sums as columns.
            unsafe {
                if self.dy.is_some() {
                    let strips = Strips::<A, true> { x, dy, first: begin, stride, shift, hint };
                    add_rows::<A, S>(simd, strips, &columns, &samples, to);
                } else {
                    let strips = Strips::<A, false> { x, dy, first: begin, stride, shift, hint };
                    add_rows::<A, S>(simd, strips, &columns, &samples, to);
                }
            }
            let place =
                self.tile.part * problem.statistics() + self.tile.group * problem.channels();
            for (from, to) in sums.iter().zip(self.sums) {
                for (values, c) in from.0.chunks_exact(spatial).zip(channels.clone()) {
                    // SAFETY: all its values.
                    let sum = unsafe { across::<S>(simd, values.as_ptr(), spatial) };
                    // SAFETY: the place of this tile's part and channel, which no other tile has.
                    unsafe { to.set(place + c, sum) };
                }
            }
        }
    }
}

/// The sum of a channel's columns.
///
/// # Safety
///
/// `len` values can be read.
#[inline(always)]
unsafe fn across<S: Simd>(simd: S, values: *const f64, len: usize) -> f64 {
    let mut sum = S::F64::splat(simd, 0.0);
    each_vector!(S::F64::LANES, 0, len, |at, count| {
        // SAFETY: `at + count` is at most `len`.
        sum = sum.add(unsafe { load::<f64, S>(simd, values.add(at), count) });
    });
    let mut lanes = [0.0; 8];
    // SAFETY: the array has 8 lanes.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    total(lanes)
}
