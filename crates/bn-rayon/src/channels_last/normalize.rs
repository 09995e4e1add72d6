//! y in channels-last.

use core::ops::Range;

use bn_core::{Element, passes, relu};

use super::flat::{Flat, Rows};
use super::table::Table;
use super::{RowByRow, T0, bits_are_dense, piece};
use crate::bits::BitStream;
use crate::run::{End, Finish, Stage, each_vector, finish, load, store, store_as};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Real, Simd, Vector};
use crate::tile::{Cut, Tile};

/// y of a tile, all channels.
pub(crate) struct Normalize<'a, A: Access, const FINISH: bool, const STREAM: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) io: (Shared<A::Stored>, Shared<A::Stored>),
    pub(crate) finish: Finish<A::Stored>,
    pub(crate) table: &'a Table<A::Scalar, 3>,
    /// Whether runs of rows go side by side.
    pub(crate) abreast: bool,
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Normalize<'_, A, FINISH, STREAM> {
    #[inline(always)]
    fn coefficients(&self) -> Rows<A::Scalar, 3> {
        self.table.rows(self.tile.group, self.cut.problem.channels(), self.abreast)
    }

    /// `R` rows from row `r` into `out`, whose rows follow each other, channels `piece`.
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
        out: *mut A::Stored,
    ) {
        let channels = self.cut.problem.channels();
        let at = |row: usize| (r + row) * channels;
        let pitch = piece.len();
        let coefficients = self.coefficients();
        each_vector!(A::Vec::<S>::LANES, piece.start, piece.end, |c, count| {
            // SAFETY: `count` channels from c have coefficients.
            let k = unsafe { coefficients.first_coefficients::<A, S>(simd, c, count) };
            for row in 0..R {
                // SAFETY: `count` channels from c of that row, in this and all that follow.
                let x = unsafe { load::<A, S>(simd, self.io.0.at(at(row) + c), count) };
                let mut z = x.sub(k[0]).mul_add(k[1], k[2]);
                if FINISH {
                    let end = end_of(&self.finish, channels, r + row);
                    // SAFETY: as above; vectors begin at multiples of 8.
                    z = unsafe { finish::<A, S>(simd, z, end, c, count) };
                }
                let out = out.wrapping_add(row * pitch + c - piece.start);
                // SAFETY: as above, or within the stage.
                unsafe { store::<A, S>(simd, z, out, count) };
            }
        });
    }
}

#[inline(always)]
fn end_of<T: Element>(finish: &Finish<T>, channels: usize, row: usize) -> End<T> {
    End {
        relu: finish.relu,
        residual: finish.residual.map_or(core::ptr::null(), |r| r.at(row * channels).cast_const()),
        bits: finish.bits.map_or(core::ptr::null_mut(), |bits| bits.at(row * channels.div_ceil(8))),
    }
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Kernel
    for Normalize<'_, A, FINISH, STREAM>
{
    const STREAMS: bool = STREAM;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.cut.problem.channels();
        let rows = self.cut.rows(&self.tile);
        let all = 0..channels;
        let y = self.io.1;
        if !FINISH || self.finish.bits.is_none() || bits_are_dense(channels) {
            // SAFETY: the tile's rows.
            return unsafe { self.coefficients().write::<A, S, STREAM>(simd, &self, rows) };
        }
        if !STREAM {
            let mut r = rows.start;
            while r + 4 <= rows.end {
                // SAFETY: rows of this tile, which owns them.
                unsafe { self.rows::<S, 4>(simd, r, &all, y.at(r * channels)) };
                r += 4;
            }
            for r in r..rows.end {
                // SAFETY: the same.
                unsafe { self.rows::<S, 1>(simd, r, &all, y.at(r * channels)) };
            }
            return;
        }
        let mut stage = Stage::new();
        let width = piece::<A::Stored>(channels);
        // Rows at once: as many whole ones as the stage holds, or a piece of one.
        let height = (Stage::BYTES / size_of::<A::Stored>() / width).max(1);
        let mut r = rows.end;
        while r > rows.start {
            let above = r.saturating_sub(height).max(rows.start);
            for start in (0..channels).step_by(width) {
                let piece = start..channels.min(start + width);
                let mut row = above;
                while row + 4 <= r {
                    let out = stage.at((row - above) * piece.len());
                    // SAFETY: rows of this tile; the stage holds `height` pieces.
                    unsafe { self.rows::<S, 4>(simd, row, &piece, out) };
                    row += 4;
                }
                for row in row..r {
                    let out = stage.at((row - above) * piece.len());
                    // SAFETY: the same.
                    unsafe { self.rows::<S, 1>(simd, row, &piece, out) };
                }
                // SAFETY: whole rows, or a piece of one row: what was written lies together.
                unsafe {
                    stage.flush(simd, y.at(above * channels + start), (r - above) * piece.len());
                };
            }
            r = above;
        }
        simd.fence();
    }
}

impl<A: Access> Kernel for RowByRow<Normalize<'_, A, true, false>> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self(normalize) = self;
        let (channels, group) = (normalize.cut.problem.channels(), normalize.tile.group);
        let wide = normalize.table.wide_of(group, channels);
        for r in normalize.cut.rows(&normalize.tile) {
            normalize.row_with_exceptions(simd, r, group * channels, wide);
        }
    }
}

impl<A: Access> Normalize<'_, A, true, false> {
    /// One row in which some channels need `f64`: vectors between them, those apart.
    #[inline(always)]
    fn row_with_exceptions<S: Simd>(
        &self,
        simd: S,
        r: usize,
        first: usize,
        wide: &[(usize, [f64; 3])],
    ) {
        let channels = self.cut.problem.channels();
        let (x, y) = (self.io.0, self.io.1.at(r * channels));
        // A block of channels at a time, a multiple of eight because bits are written by whole bytes; in place, x
        // is gone once y is there, so the exceptions of a block are computed before it is written.
        let mut rest = wide.iter().peekable();
        for start in (0..channels).step_by(64) {
            let block = start..channels.min(start + 64);
            let (mut exact, mut found) = ([(0, T0::<A>()); 64], 0);
            while let Some((statistic, k)) = rest.next_if(|(s, _)| *s - first < block.end) {
                let c = statistic - first;
                let at = r * channels + c;
                // SAFETY: an element of the tile.
                let x = unsafe { x.get(at) }.to_f64();
                let mut z = (x - k[0]) * k[1] + k[2];
                if let Some(residual) = self.finish.residual {
                    // SAFETY: the same.
                    z += unsafe { residual.get(at) }.to_f64();
                }
                let z = if self.finish.relu { relu(z) } else { z };
                exact[found] = (c, A::Stored::from_f64(z));
                found += 1;
            }
            // SAFETY: channels of a row of this tile.
            unsafe { self.rows::<S, 1>(simd, r, &block, y.wrapping_add(start)) };
            for &(c, value) in &exact[..found] {
                // SAFETY: the same.
                unsafe { y.add(c).write(value) };
                if let Some(bits) = self.finish.bits {
                    let at = r * channels.div_ceil(8) + c / 8;
                    let bit = 1u8 << (c % 8);
                    // SAFETY: a byte of bits of this row.
                    let byte = unsafe { bits.get(at) };
                    let byte = if passes(value) { byte | bit } else { byte & !bit };
                    // SAFETY: the same.
                    unsafe { bits.set(at, byte) };
                }
            }
        }
    }
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Flat<A, 3>
    for Normalize<'_, A, FINISH, STREAM>
{
    #[inline(always)]
    unsafe fn write<S: Simd, const TO_MEMORY: bool>(
        &self,
        simd: S,
        k: [A::Vec<S>; 3],
        bits: &mut BitStream,
        at: usize,
        count: usize,
    ) {
        // SAFETY: the caller's, in this and all that follow.
        let x = unsafe { load::<A, S>(simd, self.io.0.at(at), count) };
        let mut z = x.sub(k[0]).mul_add(k[1], k[2]);
        if FINISH {
            if let Some(residual) = self.finish.residual {
                // SAFETY: the same.
                z = z.add(unsafe { load::<A, S>(simd, residual.at(at), count) });
            }
            if self.finish.relu {
                z = z.relu();
            }
            if bits.is_some() {
                let threshold = A::Vec::<S>::splat(simd, A::Scalar::of(A::ROUNDS_TO_ZERO));
                // SAFETY: the same; the bits of a tile are its own bytes.
                unsafe { bits.push::<A::Vec<S>>(z.not_below(threshold), count) };
            }
        }
        // SAFETY: the same.
        unsafe { store_as::<A, S, TO_MEMORY>(simd, z, self.io.1.at(at), count) };
    }

    #[inline(always)]
    fn place(&self, at: usize) -> *const A::Stored {
        self.io.1.at(at)
    }

    #[inline(always)]
    fn bits(&self, at: usize) -> BitStream {
        BitStream::new(self.finish.bits.map_or(core::ptr::null_mut(), |bits| bits.at(at / 8)))
    }

    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S, at: usize) {
        simd.prefetch(self.io.0.at(at).cast());
    }
}
