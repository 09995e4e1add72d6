//! Tiles of channels-last tensors: rows of one value per channel, so lanes are channels.

use core::ops::Range;

use bn_core::{Element, passes, relu};

use crate::channels_first::{Given, Taken};
use crate::run::{End, Finish, Pass, Stage, Through, finish, gradient, load, passed, store};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Real, Simd, Vector};
use crate::tile::{Cut, Tile};

/// Rows whose values are added in the lanes' own precision before they go into `f64`.
const ROWS: usize = 8;

/// Calls `step` with the first channel and the lanes of each vector.
#[inline(always)]
fn vectors(lanes: usize, channels: &Range<usize>, mut step: impl FnMut(usize, usize)) {
    let mut c = channels.start;
    while c < channels.end {
        let count = (channels.end - c).min(lanes);
        step(c, count);
        c += count;
    }
}

/// Adds the lanes of `value` to `count` sums of `f64`.
///
/// # Safety
///
/// The sums can be read and written.
#[inline(always)]
unsafe fn accumulate<A: Access, S: Simd>(simd: S, value: A::Vec<S>, sums: *mut f64, count: usize) {
    for (i, half) in value.widen().into_iter().enumerate() {
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

/// Σd and Σd² of each channel of a tile.
pub(crate) struct SumDeviations<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) mask: Option<Shared<u8>>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
}

impl<A: Access> Kernel for SumDeviations<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, x, mask, shift, sums } = self;
        let [first, second] = clear(cut, &tile, sums);
        let channels = cut.problem.channels();
        let shift = shift.at(tile.group * channels);
        let add = |rows: &[*const A::Stored]| {
            vectors(A::Vec::<S>::LANES, &tile.channels, |c, count| {
                // SAFETY: `count` channels from c have shifts.
                let k = unsafe { A::Scalar::load::<A, S>(simd, shift.add(c), count) };
                let zero = A::Vec::<S>::splat(simd, A::Scalar::of(0.0));
                let (mut sum, mut squares) = ([zero; 2], [zero; 2]);
                for (i, row) in rows.iter().enumerate() {
                    // SAFETY: `count` channels from c of that row.
                    let d = unsafe { load::<A, S>(simd, row.add(c), count) }.sub(k);
                    sum[i % 2] = sum[i % 2].add(d);
                    squares[i % 2] = d.mul_add(d, squares[i % 2]);
                }
                let (sum, squares) = (sum[0].add(sum[1]), squares[0].add(squares[1]));
                // SAFETY: this tile's sums.
                unsafe { accumulate::<A, S>(simd, sum, first.add(c), count) };
                // SAFETY: the same.
                unsafe { accumulate::<A, S>(simd, squares, second.add(c), count) };
            });
        };
        let rows = cut.rows(&tile);
        let row = |r: usize| x.at(r * channels).cast_const();
        match mask {
            None => {
                let mut r = rows.start;
                while r + ROWS <= rows.end {
                    // An array, so that the loop over it is unrolled.
                    let eight: [_; ROWS] = core::array::from_fn(|i| row(r + i));
                    add(&eight);
                    r += ROWS;
                }
                (r..rows.end).for_each(|r| add(&[row(r)]));
            }
            Some(mask) => {
                // SAFETY: the positions of the tile's rows.
                rows.filter(|&r| unsafe { mask.get(r) } != 0).for_each(|r| add(&[row(r)]));
            }
        }
    }
}

/// Lanes of per-channel numbers.
trait LoadLanes: Real {
    /// Loads `count` of them.
    ///
    /// # Safety
    ///
    /// `count` values can be read.
    unsafe fn load<A: Access<Scalar = Self>, S: Simd>(
        simd: S,
        from: *const Self,
        count: usize,
    ) -> A::Vec<S>;
}

impl<R: Real> LoadLanes for R {
    #[inline(always)]
    unsafe fn load<A: Access<Scalar = R>, S: Simd>(
        simd: S,
        from: *const R,
        count: usize,
    ) -> A::Vec<S> {
        if count == A::Vec::<S>::LANES {
            // SAFETY: the caller's.
            unsafe { A::Vec::<S>::load(simd, from) }
        } else {
            // SAFETY: the caller's.
            unsafe { A::Vec::<S>::load_first(simd, from, count) }
        }
    }
}

/// Coefficients of all channels of all groups: `N` arrays as lanes, and the channels that need `f64`.
pub(crate) struct Table<'a, R, const N: usize> {
    pub(crate) lanes: [Shared<R>; N],
    /// Statistics with numbers beyond `f32`, in order.
    pub(crate) wide: &'a [(usize, [f64; N])],
}

impl<R: Real, const N: usize> Table<'_, R, N> {
    /// Those of a group that need `f64`.
    fn wide_of(&self, group: usize, channels: usize) -> &[(usize, [f64; N])] {
        let first = self.wide.partition_point(|(statistic, _)| *statistic < group * channels);
        let last = self.wide.partition_point(|(statistic, _)| *statistic < (group + 1) * channels);
        &self.wide[first..last]
    }
}

/// y of a tile, all channels.
pub(crate) struct Normalize<'a, A: Access, const FINISH: bool, const STREAM: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) io: (Shared<A::Stored>, Shared<A::Stored>),
    pub(crate) finish: Finish<A::Stored>,
    pub(crate) table: &'a Table<'a, A::Scalar, 4>,
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Normalize<'_, A, FINISH, STREAM> {
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
        let first = self.tile.group * channels;
        vectors(A::Vec::<S>::LANES, piece, |c, count| {
            let k = self.table.lanes.map(|lanes| {
                // SAFETY: `count` channels from c have coefficients.
                unsafe { A::Scalar::load::<A, S>(simd, lanes.at(first + c), count) }
            });
            for row in 0..R {
                // SAFETY: `count` channels from c of that row, in this and all that follow.
                let x = unsafe { load::<A, S>(simd, self.io.0.at(at(row) + c), count) };
                let mut z = x.sub(k[0]).sub(k[1]).mul_add(k[2], k[3]);
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

/// Channels of a row that fit into a stage; a multiple of 64.
fn piece<T>(channels: usize) -> usize {
    channels.min(Stage::BYTES / size_of::<T>())
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Kernel
    for Normalize<'_, A, FINISH, STREAM>
{
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.cut.problem.channels();
        let rows = self.cut.rows(&self.tile);
        let wide = self.table.wide_of(self.tile.group, channels);
        let first = self.tile.group * channels;
        let all = 0..channels;
        let y = self.io.1;
        if !wide.is_empty() {
            for r in rows {
                self.row_with_exceptions(simd, r, first, wide);
            }
            return;
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
                    stage.flush(simd, y.at(above * channels + start), (r - above) * piece.len())
                };
            }
            r = above;
        }
        simd.fence();
    }
}

impl<A: Access, const FINISH: bool, const STREAM: bool> Normalize<'_, A, FINISH, STREAM> {
    /// One row in which some channels need `f64`: vectors between them, those apart.
    #[inline(always)]
    fn row_with_exceptions<S: Simd>(
        &self,
        simd: S,
        r: usize,
        first: usize,
        wide: &[(usize, [f64; 4])],
    ) {
        let channels = self.cut.problem.channels();
        let (x, y) = (self.io.0, self.io.1.at(r * channels));
        // A block of eight channels at a time, because bits are written by whole bytes; in place, x
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
                let mut z = (x - k[0]) * k[2] + k[3];
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

/// A zero of the stored type.
#[expect(non_snake_case, reason = "stands where a constant would, were `Default` const")]
fn T0<A: Access>() -> A::Stored {
    A::Stored::default()
}

/// Σdy and Σdy·(x − mean) of each channel of a tile.
pub(crate) struct SumGradients<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    pub(crate) means: [Shared<A::Scalar>; 2],
    pub(crate) sums: [Shared<f64>; 2],
}

/// The gate at the beginning of a row.
#[inline(always)]
fn pass_of<T: Element>(through: Through<T>, channels: usize, row: usize) -> Pass<T> {
    through.from(row * channels, row * channels.div_ceil(8))
}

impl<A: Access> SumGradients<'_, A> {
    /// Adds `R` rows from row `r`.
    #[inline(always)]
    fn add<S: Simd, const R: usize>(&self, simd: S, r: usize, to: [*mut f64; 2]) {
        let Some(x) = self.given.x else { return };
        let channels = self.cut.problem.channels();
        let group = self.tile.group * channels;
        vectors(A::Vec::<S>::LANES, &self.tile.channels, |c, count| {
            let [high, low] = self.means.map(|means| {
                // SAFETY: `count` channels from c have means.
                unsafe { A::Scalar::load::<A, S>(simd, means.at(group + c), count) }
            });
            let zero = A::Vec::<S>::splat(simd, A::Scalar::of(0.0));
            let (mut first, mut second) = ([zero; 2], [zero; 2]);
            for i in 0..R {
                let at = (r + i) * channels;
                let pass = pass_of(self.given.through, channels, r + i);
                // SAFETY: `count` channels from c of that row; c is a multiple of 8.
                let dy = unsafe { passed::<A, S>(simd, self.given.dy.at(at), pass, c, count) };
                // SAFETY: the same.
                let x = unsafe { load::<A, S>(simd, x.at(at + c), count) };
                first[i % 2] = first[i % 2].add(dy);
                second[i % 2] = dy.mul_add(x.sub(high).sub(low), second[i % 2]);
            }
            let sums = [first[0].add(first[1]), second[0].add(second[1])];
            for (sum, to) in sums.into_iter().zip(to) {
                // SAFETY: this tile's sums.
                unsafe { accumulate::<A, S>(simd, sum, to.add(c), count) };
            }
        });
    }
}

impl<A: Access> Kernel for SumGradients<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let to = clear(self.cut, &self.tile, self.sums);
        let rows = self.cut.rows(&self.tile);
        let mut r = rows.start;
        while r + ROWS <= rows.end {
            self.add::<S, ROWS>(simd, r, to);
            r += ROWS;
        }
        (r..rows.end).for_each(|r| self.add::<S, 1>(simd, r, to));
    }
}

/// dx of a tile, all channels.
pub(crate) struct Apply<'a, A: Access, const STREAM: bool> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    pub(crate) taken: Taken<A::Stored>,
    pub(crate) table: &'a Table<'a, A::Scalar, 6>,
}

impl<A: Access, const STREAM: bool> Apply<'_, A, STREAM> {
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
        let first = self.tile.group * channels;
        vectors(A::Vec::<S>::LANES, piece, |c, count| {
            let k = self.table.lanes.map(|lanes| {
                // SAFETY: `count` channels from c have coefficients.
                unsafe { A::Scalar::load::<A, S>(simd, lanes.at(first + c), count) }
            });
            for row in 0..R {
                let at = (r + row) * channels;
                let pass = pass_of(self.given.through, channels, r + row);
                // SAFETY: `count` channels from c of that row, in this and all that follow.
                let dy = unsafe { passed::<A, S>(simd, self.given.dy.at(at), pass, c, count) };
                let x = self.given.x.filter(|_| self.is_valid(r + row));
                // SAFETY: the same.
                let x = x.map(|x| unsafe { load::<A, S>(simd, x.at(at + c), count) });
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

    /// One row in which some channels need `f64`; see [`Normalize::row_with_exceptions`].
    #[inline(always)]
    fn row_with_exceptions<S: Simd>(
        &self,
        simd: S,
        r: usize,
        first: usize,
        wide: &[(usize, [f64; 6])],
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
                let through = match self.given.x.filter(|_| self.is_valid(r)) {
                    // SAFETY: the same.
                    Some(x) => k[2] + (unsafe { x.get(at + c) }.to_f64() - k[0]) * k[4],
                    None => 0.0,
                };
                exact[found] = (c, A::Stored::from_f64((dy - through) * k[5]));
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

impl<A: Access, const STREAM: bool> Kernel for Apply<'_, A, STREAM> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.cut.problem.channels();
        let rows = self.cut.rows(&self.tile);
        let wide = self.table.wide_of(self.tile.group, channels);
        let all = 0..channels;
        let Taken { dx, dresidual, .. } = self.taken;
        let direct = |at| dresidual.map_or(core::ptr::null_mut(), |dresidual| dresidual.at(at));
        if !wide.is_empty() {
            for r in rows {
                self.row_with_exceptions(simd, r, self.tile.group * channels, wide);
            }
            return;
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
