//! Tiles of channels-first tensors: rows of one channel's values, some channels beside each other.

pub(crate) mod few;
pub(crate) mod outputs;
pub(crate) mod short;
pub(crate) mod strip;
pub(crate) mod sums;

use crate::run;
use crate::run::{End, Finish, Gradients, Through};
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Real, Simd, Vector, Wide, total};
use crate::tile::{Cut, Tile};

/// How many channels a tile has at most: as many as a word has bits.
pub(crate) const CHANNELS: usize = 64;

/// Σd and Σd² of each channel of a tile, into its part's place in `sums`.
pub(crate) struct SumDeviations<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) mask: Option<Shared<u8>>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
}

/// The element at which a row of a channel begins, and its byte of bits.
#[inline(always)]
fn row(cut: &Cut, n: usize, c: usize, s: usize) -> (usize, usize) {
    let row = n * cut.problem.channels() + c;
    (row * cut.problem.spatial() + s, row * cut.problem.spatial().div_ceil(8) + s / 8)
}

/// Writes the accumulated sums of a tile to its part's place.
#[inline(always)]
fn write_sums<S: Simd>(
    cut: &Cut,
    tile: &Tile,
    acc: &[[S::F64; 2]; CHANNELS],
    sums: [Shared<f64>; 2],
) {
    let problem = cut.problem;
    for (c, acc) in tile.channels.clone().zip(acc) {
        let at = tile.part * problem.statistics() + tile.group * problem.channels() + c;
        for (acc, sums) in acc.iter().zip(sums) {
            let mut lanes = [0.0; 8];
            // SAFETY: the array has 8 lanes.
            unsafe { acc.store(lanes.as_mut_ptr()) };
            // SAFETY: the place of this tile's part and channel, which no other tile has.
            unsafe { sums.set(at, total(lanes)) };
        }
    }
}

impl<A: Access> Kernel for SumDeviations<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, x, mask, shift, sums } = self;
        let (samples, columns) = cut.samples(&tile);
        let zero = S::F64::splat(simd, 0.0);
        let mut acc = [[zero; 2]; CHANNELS];
        for n in samples {
            let mask = mask.map_or(core::ptr::null(), |mask| {
                mask.at(n * cut.problem.spatial() + columns.start).cast_const()
            });
            for (c, acc) in tile.channels.clone().zip(&mut acc) {
                let (at, _) = row(cut, n, c, columns.start);
                // SAFETY: the shift of each channel is written before its tiles run.
                let shift = unsafe { shift.get(tile.group * cut.problem.channels() + c) };
                // SAFETY: the columns of row (n, c), and their positions in the mask.
                unsafe {
                    run::sum_deviations::<A, S>(simd, x.at(at), mask, columns.len(), shift, acc);
                };
            }
        }
        write_sums::<S>(cut, &tile, &acc, sums);
    }
}

/// The coefficients of a tile's channels as lanes and as `f64`, and which must be used as `f64`.
struct Prepared<R, const N: usize> {
    narrow: [[R; N]; CHANNELS],
    exact: [[f64; N]; CHANNELS],
    wide: u64,
}

impl<R: Real, const N: usize> Prepared<R, N> {
    fn new(cut: &Cut, tile: &Tile, of: impl Fn(usize) -> ([f64; N], bool)) -> Self {
        let mut prepared =
            Self { narrow: [[R::of(0.0); N]; CHANNELS], exact: [[0.0; N]; CHANNELS], wide: 0 };
        for (i, c) in tile.channels.clone().enumerate() {
            let (exact, narrow) = of(tile.group * cut.problem.channels() + c);
            prepared.exact[i] = exact;
            prepared.narrow[i] = exact.map(R::of);
            prepared.wide |= u64::from(!narrow) << i;
        }
        prepared
    }
}

/// y of a tile in which some channels need `f64`: row by row, within the cache.
pub(crate) struct Normalize<'a, A: Access, C> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) io: (Shared<A::Stored>, Shared<A::Stored>),
    pub(crate) finish: Finish<A::Stored>,
    pub(crate) coefficients: &'a C,
}

impl<A: Access, C: Fn(usize) -> ([f64; 3], bool)> Kernel for Normalize<'_, A, C> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, io: (x, y), finish, coefficients } = self;
        let prepared = Prepared::<A::Scalar, 3>::new(cut, &tile, coefficients);
        let (samples, columns) = cut.samples(&tile);
        for n in samples {
            for (i, c) in tile.channels.clone().enumerate() {
                let (at, byte) = row(cut, n, c, columns.start);
                let end = End {
                    relu: finish.relu,
                    residual: finish.residual.map_or(core::ptr::null(), |r| r.at(at).cast_const()),
                    bits: finish.bits.map_or(core::ptr::null_mut(), |bits| bits.at(byte)),
                };
                let (x, y, len) = (x.at(at), y.at(at), columns.len());
                if prepared.wide >> i & 1 == 0 {
                    let k = prepared.narrow[i];
                    // SAFETY: `len` values of row (n, c), which this tile owns.
                    unsafe { run::normalize::<A, S, true>(simd, x, y, len, k, end) };
                } else {
                    let k = prepared.exact[i];
                    // SAFETY: the same.
                    unsafe { run::normalize::<Wide<A::Stored>, S, true>(simd, x, y, len, k, end) };
                }
            }
        }
    }
}

/// What backward reads.
#[derive(Clone, Copy)]
pub(crate) struct Given<T> {
    pub(crate) dy: Shared<T>,
    pub(crate) through: Through<T>,
    /// x or x̂; `None` where statistics were fixed and dx does not ask for it.
    pub(crate) x: Option<Shared<T>>,
}

/// Σdy and Σdy·(x − centre) of each channel of a tile, into its part's place in `sums`.
pub(crate) struct SumGradients<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    /// The mean of each statistic as lanes hold it.
    pub(crate) centre: Shared<A::Scalar>,
    pub(crate) sums: [Shared<f64>; 2],
}

impl<A: Access> Kernel for SumGradients<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, given: Given { dy, through, x }, centre, sums } = self;
        let Some(x) = x else { return };
        let (samples, columns) = cut.samples(&tile);
        let mut acc = [[S::F64::splat(simd, 0.0); 2]; CHANNELS];
        for n in samples {
            for (i, c) in tile.channels.clone().enumerate() {
                let (at, byte) = row(cut, n, c, columns.start);
                let statistic = tile.group * cut.problem.channels() + c;
                // SAFETY: the centre of each channel is written before its tiles run.
                let centre = unsafe { centre.get(statistic) };
                let pass = through.from(at, byte);
                // SAFETY: the columns of row (n, c).
                unsafe {
                    run::sum_gradients::<A, S>(
                        simd,
                        dy.at(at),
                        pass,
                        x.at(at),
                        columns.len(),
                        centre,
                        &mut acc[i],
                    );
                }
            }
        }
        write_sums::<S>(cut, &tile, &acc, sums);
    }
}

/// Where backward writes.
#[derive(Clone, Copy)]
pub(crate) struct Taken<T> {
    pub(crate) dx: Shared<T>,
    pub(crate) dresidual: Option<Shared<T>>,
    pub(crate) mask: Option<Shared<u8>>,
}

/// dx of a tile in which some channels need `f64`: row by row, within the cache.
pub(crate) struct Apply<'a, A: Access, C> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) given: Given<A::Stored>,
    pub(crate) taken: Taken<A::Stored>,
    pub(crate) coefficients: &'a C,
}

impl<A: Access, C: Fn(usize) -> ([f64; 5], bool)> Kernel for Apply<'_, A, C> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, given, taken, coefficients } = self;
        let prepared = Prepared::<A::Scalar, 5>::new(cut, &tile, coefficients);
        let (samples, columns) = cut.samples(&tile);
        for n in samples {
            for (i, c) in tile.channels.clone().enumerate() {
                let (at, byte) = row(cut, n, c, columns.start);
                let to = Gradients {
                    dx: taken.dx.at(at),
                    dresidual: taken.dresidual.map_or(core::ptr::null_mut(), |d| d.at(at)),
                    mask: taken.mask.map_or(core::ptr::null(), |mask| {
                        mask.at(n * cut.problem.spatial() + columns.start).cast_const()
                    }),
                };
                let x = given.x.map_or(core::ptr::null(), |x| x.at(at).cast_const());
                let (dy, pass) = (given.dy.at(at), given.through.from(at, byte));
                let len = columns.len();
                if prepared.wide >> i & 1 == 0 {
                    let k = prepared.narrow[i];
                    // SAFETY: `len` values of row (n, c), which this tile owns.
                    unsafe { run::apply_gradients::<A, S>(simd, dy, pass, x, len, k, to) };
                } else {
                    let k = prepared.exact[i];
                    // SAFETY: the same.
                    unsafe {
                        run::apply_gradients::<Wide<A::Stored>, S>(simd, dy, pass, x, len, k, to);
                    }
                }
            }
        }
    }
}
