//! dx in channels-last.

use core::ops::Range;

use bn_core::{Element, passes};

use super::flat::{Flat, Rows};
use super::sums::pass_of;
use super::table::Table;
use super::{RowByRow, T0, bits_are_dense, piece};
use crate::bits::BitStream;
use crate::channels_first::{Given, Taken};
use crate::run::{
    Pass, Stage, Through, each_vector, gradient, load, passed, store, store_as, until_aligned,
};
use crate::simd::{Access, Kernel, Real, Simd, Vector};
use crate::tile::{Cut, Tile};

/// dx of a tile, all channels. `PLAIN` where the gate is open, there is an x, all positions are valid and
/// there is no residual.
pub(crate) struct Apply<'a, A: Access, const PLAIN: bool, const STREAM: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    pub(crate) taken: Taken<A::Stored>,
    pub(crate) table: &'a Table<A::Scalar, 5>,
    /// Whether runs of rows go side by side.
    pub(crate) abreast: bool,
}

impl<A: Access, const PLAIN: bool, const STREAM: bool> Apply<'_, A, PLAIN, STREAM> {
    #[inline(always)]
    fn coefficients(&self) -> Rows<A::Scalar, 5> {
        self.table.rows(self.tile.group, self.cut.problem.channels(), self.abreast)
    }

    /// `R` rows from row `r`, channels `piece`, into rows that follow each other.
    ///
    /// # Safety
    ///
    /// The rows are the tile's.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(
        &self,
        simd: S,
        r: usize,
        piece: &Range<usize>,
        dx: *mut A::Stored,
        dresidual: *mut A::Stored,
    ) {
        let channels = self.cut.problem.channels();
        let coefficients = self.coefficients();
        each_vector!(A::Vec::<S>::LANES, piece.start, piece.end, |c, count| {
            // SAFETY: `count` channels from c have coefficients.
            let k = unsafe { coefficients.first_coefficients::<A, S>(simd, c, count) };
            for row in 0..R {
                let at = (r + row) * channels;
                let pass = pass_of(self.given.through, channels, r + row);
                // SAFETY: `count` channels from c of that row, in this and all that follow.
                let dy = unsafe { passed::<A, S>(simd, self.given.dy.at(at), pass, c, count) };
                let x = match self.given.x.filter(|_| self.is_valid(r + row)) {
                    // SAFETY: the same.
                    Some(x) => Some(unsafe { load::<A, S>(simd, x.at(at + c), count) }),
                    None => None,
                };
                let dx_lanes = gradient::<A, S>(dy, x, k, u32::MAX);
                let place = row * piece.len() + c - piece.start;
                if !dresidual.is_null() {
                    // SAFETY: as above, or within the stage.
                    unsafe { store::<A, S>(simd, dy, dresidual.wrapping_add(place), count) };
                }
                // SAFETY: as above, or within the stage.
                unsafe { store::<A, S>(simd, dx_lanes, dx.wrapping_add(place), count) };
            }
        });
    }

    /// Whether the row's position takes part in the statistics.
    #[inline(always)]
    fn is_valid(&self, row: usize) -> bool {
        // SAFETY: a position of the tile.
        self.taken.mask.is_none_or(|mask| unsafe { mask.get(row) } != 0)
    }
}

impl<A: Access> Kernel for RowByRow<Apply<'_, A, false, false>> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self(apply) = self;
        let (channels, group) = (apply.cut.problem.channels(), apply.tile.group);
        let wide = apply.table.wide_of(group, channels);
        for r in apply.cut.rows(&apply.tile) {
            apply.row_with_exceptions(simd, r, group * channels, wide);
        }
    }
}

impl<A: Access> Apply<'_, A, false, false> {
    /// One row in which some channels need `f64`: vectors between them, those apart, as for y.
    #[inline(always)]
    fn row_with_exceptions<S: Simd>(
        &self,
        simd: S,
        r: usize,
        first: usize,
        wide: &[(usize, [f64; 5])],
    ) {
        let channels = self.cut.problem.channels();
        let (dy, at) = (self.given.dy, r * channels);
        let mut rest = wide.iter().peekable();
        for start in (0..channels).step_by(64) {
            let block = start..channels.min(start + 64);
            let (mut exact, mut found) = ([(0, T0::<A>()); 64], 0);
            while let Some((statistic, k)) = rest.next_if(|(s, _)| *s - first < block.end) {
                let c = statistic - first;
                let open = match pass_of(self.given.through, channels, r) {
                    Pass::Everything => true,
                    // SAFETY: an element of the tile.
                    Pass::Output(y) => passes(unsafe { y.add(c).read() }),
                    // SAFETY: its bit.
                    Pass::Bits(bits) => (unsafe { bits.add(c / 8).read() }) >> (c % 8) & 1 != 0,
                };
                // SAFETY: an element of the tile.
                let dy = if open { unsafe { dy.get(at + c) }.to_f64() } else { 0.0 };
                let [centre, dy_centre, through, scale, offset] = *k;
                let dx = match self.given.x.filter(|_| self.is_valid(r)) {
                    Some(x) => {
                        // SAFETY: the same.
                        let x = unsafe { x.get(at + c) }.to_f64();
                        (dy - dy_centre) * scale - (x - centre) * through + offset
                    }
                    None => dy * scale,
                };
                exact[found] = (c, A::Stored::from_f64(dx));
                found += 1;
            }
            let dresidual =
                self.taken.dresidual.map_or(core::ptr::null_mut(), |d| d.at(at + start));
            // SAFETY: channels of a row of this tile.
            unsafe { self.rows::<S, 1>(simd, r, &block, self.taken.dx.at(at + start), dresidual) };
            for &(c, value) in &exact[..found] {
                // SAFETY: the same.
                unsafe { self.taken.dx.set(at + c, value) };
            }
        }
    }
}

impl<A: Access, const PLAIN: bool, const STREAM: bool> Kernel for Apply<'_, A, PLAIN, STREAM> {
    const STREAMS: bool = STREAM;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.cut.problem.channels();
        let rows = self.cut.rows(&self.tile);
        let all = 0..channels;
        let Taken { dx, dresidual, .. } = self.taken;
        let direct = |at| dresidual.map_or(core::ptr::null_mut(), |dresidual| dresidual.at(at));
        let has_gaps = matches!(self.given.through, Through::Bits(_)) && !bits_are_dense(channels);
        let by_rows = has_gaps || self.taken.mask.is_some();
        if PLAIN || !by_rows {
            // SAFETY: the tile's rows.
            return unsafe { self.coefficients().write::<A, S, STREAM>(simd, &self, rows) };
        }
        if !STREAM {
            let mut r = rows.start;
            while r + 4 <= rows.end {
                let at = r * channels;
                // SAFETY: rows of this tile, which owns them.
                unsafe { self.rows::<S, 4>(simd, r, &all, dx.at(at), direct(at)) };
                r += 4;
            }
            for r in r..rows.end {
                let at = r * channels;
                // SAFETY: the same.
                unsafe { self.rows::<S, 1>(simd, r, &all, dx.at(at), direct(at)) };
            }
            return;
        }
        let (mut stage, mut second) = (Stage::new(), Stage::new());
        let width = piece::<A::Stored>(channels);
        let height = (Stage::BYTES / size_of::<A::Stored>() / width).max(1);
        let mut r = rows.end;
        while r > rows.start {
            let above = r.saturating_sub(height).max(rows.start);
            for start in (0..channels).step_by(width) {
                let piece = start..channels.min(start + width);
                let mut row = above;
                while row < r {
                    let place = (row - above) * piece.len();
                    let residual =
                        if dresidual.is_some() { second.at(place) } else { core::ptr::null_mut() };
                    if row + 4 <= r {
                        // SAFETY: rows of this tile; the stages hold `height` pieces.
                        unsafe { self.rows::<S, 4>(simd, row, &piece, stage.at(place), residual) };
                        row += 4;
                    } else {
                        // SAFETY: the same.
                        unsafe { self.rows::<S, 1>(simd, row, &piece, stage.at(place), residual) };
                        row += 1;
                    }
                }
                let (at, len) = (above * channels + start, (r - above) * piece.len());
                // SAFETY: whole rows, or a piece of one row: what was written lies together.
                unsafe { stage.flush(simd, dx.at(at), len) };
                if let Some(dresidual) = dresidual {
                    // SAFETY: the same.
                    unsafe { second.flush(simd, dresidual.at(at), len) };
                }
            }
            r = above;
        }
        simd.fence();
    }
}

impl<A: Access, const PLAIN: bool, const STREAM: bool> Flat<A, 5> for Apply<'_, A, PLAIN, STREAM> {
    #[inline(always)]
    unsafe fn write<S: Simd, const TO_MEMORY: bool>(
        &self,
        simd: S,
        k: [A::Vec<S>; 5],
        bits: &mut BitStream,
        at: usize,
        count: usize,
    ) {
        // SAFETY: the caller's, in this and all that follow.
        let mut dy = unsafe { load::<A, S>(simd, self.given.dy.at(at), count) };
        if !PLAIN && let Through::Output(y) = self.given.through {
            // SAFETY: the same.
            let y = unsafe { load::<A, S>(simd, y.at(at), count) };
            dy = dy.keep(y.not_below(A::Vec::<S>::splat(simd, A::Scalar::of(0.0))));
        }
        if !PLAIN && bits.is_some() {
            // SAFETY: the same, of the tile's bits.
            dy = dy.keep(unsafe { bits.pull::<A::Vec<S>>(count) });
        }
        let x = match self.given.x {
            // SAFETY: the same.
            Some(x) => Some(unsafe { load::<A, S>(simd, x.at(at), count) }),
            None => None,
        };
        let dx = gradient::<A, S>(dy, x, k, u32::MAX);
        if !PLAIN && let Some(dresidual) = self.taken.dresidual {
            let to = dresidual.at(at);
            // Its lines need not begin where those of dx do.
            if TO_MEMORY && until_aligned::<A, S>(to) == 0 {
                // SAFETY: the same.
                unsafe { store_as::<A, S, TO_MEMORY>(simd, dy, to, count) };
            } else {
                // SAFETY: the same.
                unsafe { store_as::<A, S, false>(simd, dy, to, count) };
            }
        }
        // SAFETY: the same.
        unsafe { store_as::<A, S, TO_MEMORY>(simd, dx, self.taken.dx.at(at), count) };
    }

    #[inline(always)]
    fn place(&self, at: usize) -> *const A::Stored {
        self.taken.dx.at(at)
    }

    #[inline(always)]
    fn bits(&self, at: usize) -> BitStream {
        BitStream::new(match self.given.through {
            Through::Bits(bits) => bits.at(at / 8),
            _ => core::ptr::null_mut(),
        })
    }

    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S, at: usize) {
        simd.prefetch(self.given.dy.at(at).cast());
        if let Some(x) = self.given.x {
            simd.prefetch(x.at(at).cast());
        }
    }
}
