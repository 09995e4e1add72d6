//! What the deviations of a channel are taken from: some of its own values, so that those of a constant are 0.

use bn_core::{DType, Layout};

use crate::run::{load, store};
use crate::shared::Shared;
use crate::simd::{Access, Eight, Kernel, Real, Simd, Vector};
use crate::tile::{Cut, Tile};

/// Values whose mean deviations are taken from.
const SAMPLE: usize = 16;

/// The numbers that the deviations of up to eight channels are taken from: of each the mean of a few values in
/// the middle of its first row, rounded to `f32`; where they are `f64`, one of them.
///
/// One value was tried alone. It lies about one deviation from the mean, so that Σd² is twice M2 and its
/// rounding errors show twice; the mean of sixteen equal values is the value itself.
///
/// # Safety
///
/// `first` is the first value of the first channel, and `count` rows follow each other there.
#[inline(always)]
pub(crate) unsafe fn references<A: Access, S: Simd>(
    simd: S,
    cut: &Cut,
    first: *const A::Stored,
    count: usize,
) -> S::F64 {
    let spatial = cut.problem.spatial();
    let middle = first.wrapping_add(spatial / 2);
    // SAFETY: values of the rows.
    let ones = unsafe { one_each::<A, S>(simd, middle, spatial, count) };
    if <A::Stored as bn_core::Scalar>::DTYPE == DType::F64 {
        return ones;
    }
    let len = SAMPLE.min(spatial - spatial / 2);
    let mut sums = [S::F64::splat(simd, 0.0); 8];
    for (i, sum) in sums.iter_mut().enumerate().take(count) {
        // SAFETY: that many values of the row.
        let values = unsafe { load::<A, S>(simd, middle.wrapping_add(i * spatial), len) };
        let [low, high] = values.widen();
        *sum = low.add(high);
    }
    let means = S::F64::totals(sums).div(S::F64::splat(simd, len as f64));
    let mut narrow = [0.0; 8];
    // SAFETY: the array has 8 places.
    unsafe { means.store_narrow(narrow.as_mut_ptr()) };
    // SAFETY: the same.
    unsafe { simd.load_wide(narrow.as_ptr()) }.select(ones, means.is_not_finite())
}

/// A value of each of `count` channels, so many values from one to the next.
///
/// # Safety
///
/// They can be read.
#[inline(always)]
unsafe fn one_each<A: Access, S: Simd>(
    simd: S,
    first: *const A::Stored,
    apart: usize,
    count: usize,
) -> S::F64 {
    let mut ones = [0.0; 8];
    for (i, one) in ones.iter_mut().enumerate().take(count) {
        // SAFETY: the caller's.
        *one = bn_core::Element::to_f64(unsafe { first.wrapping_add(i * apart).read() });
    }
    // SAFETY: the array has 8 places.
    unsafe { S::F64::load(simd, ones.as_ptr()) }
}

/// The values of a tile's channels at one position, as lanes and as `f64`: what deviations are taken from where values
/// are masked or lie by rows.
pub(crate) struct ValuesAt<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    /// Counted over the whole batch.
    pub(crate) position: usize,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) exact: Shared<f64>,
}

impl<A: Access> Kernel for ValuesAt<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, position, x, shift, exact } = self;
        let problem = cut.problem;
        let (n, s) = (position / problem.spatial(), position % problem.spatial());
        let apart = match problem.layout() {
            Layout::ChannelsFirst => problem.spatial(),
            Layout::ChannelsLast => 1,
        };
        for c in tile.channels.clone().step_by(8) {
            let count = (tile.channels.end - c).min(8);
            let at = tile.group * problem.channels() + c;
            // SAFETY: values of channels of the tile.
            let values =
                unsafe { one_each::<A, S>(simd, x.at(problem.offset(n, c, s)), apart, count) };
            // SAFETY: places of the scratch that only this call uses, before anyone reads them.
            unsafe {
                A::Scalar::put(values, shift.at(at), count);
                store::<f64, S>(simd, values, exact.at(at), count);
            }
        }
    }
}

/// [`references`] of a tile's channels, as lanes and as `f64` (channels-first).
pub(crate) struct References<'a, A: Access> {
    pub(crate) cut: &'a Cut,
    pub(crate) tile: Tile,
    pub(crate) x: Shared<A::Stored>,
    pub(crate) shift: Shared<A::Scalar>,
    pub(crate) exact: Shared<f64>,
}

impl<A: Access> Kernel for References<'_, A> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, x, shift, exact } = self;
        let problem = cut.problem;
        let sample = tile.group * problem.group_batch();
        for c in tile.channels.clone().step_by(8) {
            let count = (tile.channels.end - c).min(8);
            let first = problem.offset(sample, c, 0);
            // SAFETY: rows of channels of the tile.
            let values = unsafe { references::<A, S>(simd, cut, x.at(first), count) };
            let at = tile.group * problem.channels() + c;
            // SAFETY: places of the scratch that only this call uses, before anyone reads them.
            unsafe {
                A::Scalar::put(values, shift.at(at), count);
                store::<f64, S>(simd, values, exact.at(at), count);
            }
        }
    }
}
