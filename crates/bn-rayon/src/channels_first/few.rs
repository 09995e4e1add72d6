//! The moments of channels of few values: taken and settled in one kernel, eight channels at a time.
//!
//! Channel by channel and round by round, what comes between the sums of 49 values takes longer than they.

use super::row;
use crate::eight::judge;
use crate::references::references;
use crate::run::{Minus, each_vector, in_chains, load, store};
use crate::shared::Shared;
use crate::simd::{Access, Eight, Kernel, Real, Simd, Vector, Wide, first_lanes};
use crate::statistics::{FEW, Precision, ROUNDS};
use crate::tile::{Cut, Tile};

/// The moments of a tile's channels, summed in `f64`. The tile is all that its channels have.
pub(crate) struct FewMoments<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    /// Where they go, by statistic.
    pub(crate) mean: Shared<f64>,
    pub(crate) m2: Shared<f64>,
}

impl<A: Access> Kernel for FewMoments<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, x, mean, m2 } = self;
        let problem = cut.problem;
        let values = problem.count() as f64;
        let (samples, _) = cut.samples(&tile);
        let stride = problem.channels() * problem.spatial();
        let channels = tile.channels;
        for c in channels.clone().step_by(8) {
            let count = (channels.end - c).min(8);
            let (first, _) = row(cut, samples.start, c, 0);
            // SAFETY: rows of channels of the tile.
            let mut shift = unsafe {
                if values < FEW {
                    means::<A, S>(simd, cut, x.at(first), samples.len(), count)
                } else {
                    references::<A, S>(simd, cut, x.at(first), count)
                }
            };
            let zero = S::F64::splat(simd, 0.0);
            let (mut means, mut m2s) = (zero, zero);
            let mut left = first_lanes(count);
            for round in 0..ROUNDS {
                let mut shifts = [0.0; 8];
                // SAFETY: the array has 8 places.
                unsafe { shift.store(shifts.as_mut_ptr()) };
                let mut sums = [[zero; 8]; 2];
                for (i, &shift) in shifts.iter().enumerate().take(count) {
                    let from = x.at(first + i * problem.spatial());
                    let shift = Minus::new(simd, S::F64::splat(simd, shift));
                    // SAFETY: the channel's rows.
                    let both = unsafe {
                        deviations::<A::Stored, S>(
                            simd,
                            from,
                            problem.spatial(),
                            (samples.len(), stride),
                            shift,
                        )
                    };
                    (sums[0][i], sums[1][i]) = (both[0], both[1]);
                }
                // Not by `map`: a function that is passed is not compiled for the instruction set.
                let sums = [S::F64::totals(sums[0]), S::F64::totals(sums[1])];
                let judged = judge(simd, sums, values, shift, Precision::Double, round);
                means = means.select(judged.mean, left);
                m2s = m2s.select(judged.m2, left);
                left &= !judged.good;
                if left == 0 {
                    break;
                }
                shift = shift.select(judged.mean, left);
            }
            let at = tile.group * problem.channels() + c;
            // SAFETY: statistics of the tile, which this call settles.
            unsafe {
                store::<f64, S>(simd, means, mean.at(at), count);
                store::<f64, S>(simd, m2s, m2.at(at), count);
            }
        }
    }
}

/// Σd and Σd² of a channel in lanes, d = x − shift.
///
/// # Safety
///
/// From `from` on there are rows of that many values, their number and distance as told.
#[inline(always)]
unsafe fn deviations<T: bn_core::Element, S: Simd>(
    simd: S,
    from: *const T,
    len: usize,
    (rows, stride): (usize, usize),
    shift: Minus<S::F64>,
) -> [S::F64; 2] {
    let zero = S::F64::splat(simd, 0.0);
    let (mut first, mut second) = ([zero; 2], [zero; 2]);
    for n in 0..rows {
        let row = from.wrapping_add(n * stride);
        in_chains!(S::F64::LANES, len, |chain, at, count| {
            // SAFETY: `at + count` is at most `len`.
            let mut d = shift.from(unsafe { load::<Wide<T>, S>(simd, row.add(at), count) });
            if count < S::F64::LANES {
                d = d.keep(first_lanes(count));
            }
            first[chain] = first[chain].add(d);
            second[chain] = d.mul_add(d, second[chain]);
        });
    }
    [first[0].add(first[1]), second[0].add(second[1])]
}

/// About the means of up to eight channels, exactly those where all values are equal: first sums are taken
/// of so few values as lanes, so that one round in `f64` is enough.
///
/// # Safety
///
/// `first` is the first value of the first channel, and `count` rows follow each other there in each of
/// that many samples.
#[inline(always)]
unsafe fn means<A: Access, S: Simd>(
    simd: S,
    cut: &Cut,
    first: *const A::Stored,
    samples: usize,
    count: usize,
) -> S::F64 {
    let (spatial, stride) = (cut.problem.spatial(), cut.problem.channels() * cut.problem.spatial());
    let mut ones = [0.0; 8];
    let mut sums = [S::F64::splat(simd, 0.0); 8];
    for (i, (one, sum)) in ones.iter_mut().zip(&mut sums).enumerate().take(count) {
        let from = first.wrapping_add(i * spatial);
        // SAFETY: a value of the row.
        *one = bn_core::Element::to_f64(unsafe { from.read() });
        let shift = A::Vec::<S>::splat(simd, A::Scalar::of(*one));
        let mut d = A::Vec::<S>::splat(simd, A::Scalar::default());
        for n in 0..samples {
            let row = from.wrapping_add(n * stride);
            each_vector!(A::Vec::<S>::LANES, 0, spatial, |at, lanes| {
                // SAFETY: `at + lanes` is at most the row's length.
                let x = unsafe { load::<A, S>(simd, row.add(at), lanes) }.sub(shift);
                d = d.add(if lanes == A::Vec::<S>::LANES { x } else { x.keep(first_lanes(lanes)) });
            });
        }
        *sum = d.fold();
    }
    // SAFETY: the array has 8 places.
    let ones = unsafe { S::F64::load(simd, ones.as_ptr()) };
    let values = S::F64::splat(simd, cut.problem.count() as f64);
    let means = ones.add(S::F64::totals(sums).div(values));
    means.select(ones, means.is_not_finite())
}
