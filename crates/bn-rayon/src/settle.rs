//! The kernels that settle statistics, eight at a time: from the sums of parts to moments, from moments to
//! coefficients.

use core::ops::Range;

use crate::backward::{GradientSums, MakeGradient, Normalizer};
use crate::eight::{
    backward_coefficients, deviations_do_not_fit, forward_coefficients, gradient_sums_do_not_hold,
    judge, rounded,
};
use crate::run::{load, store};
use crate::shared::Shared;
use crate::simd::{Kernel, Real, Simd, Vector, first_lanes};
use crate::source::Affine;
use crate::statistics::Precision;
use crate::tile::{Cut, Tile};

/// Adds the sums of all parts of some statistics, in order, into those of the first part.
pub(crate) struct Fold<'a> {
    pub(crate) cut: &'a Cut,
    pub(crate) sums: [Shared<f64>; 2],
    pub(crate) statistics: Range<usize>,
}

impl Fold<'_> {
    /// Those of `V` vectors of statistics from `at` on, of which the last has `count`.
    ///
    /// # Safety
    ///
    /// There are as many, their tiles are done, and only this call settles them.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const V: usize>(
        &self,
        simd: S,
        sums: Shared<f64>,
        at: usize,
        count: usize,
    ) {
        let last = |v: usize| if v + 1 == V { count } else { 8 };
        let mut totals = [S::F64::splat(simd, 0.0); V];
        for part in 0..self.cut.parts {
            let from = part * self.cut.problem.statistics() + at;
            for (v, total) in totals.iter_mut().enumerate() {
                // SAFETY: the caller's, here and below.
                let more = unsafe { load::<f64, S>(simd, sums.at(from + 8 * v), last(v)) };
                *total = if part == 0 { more } else { total.add(more) };
            }
        }
        for (v, total) in totals.iter().enumerate() {
            // SAFETY: the same.
            unsafe { store::<f64, S>(simd, *total, sums.at(at + 8 * v), last(v)) };
        }
    }
}

impl Kernel for Fold<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        /// Vectors at a time: a few lines of each part, for those of the next part are in another page.
        const VECTORS: usize = 4;
        if self.cut.parts == 1 {
            return;
        }
        for sums in self.sums {
            let Range { start: mut at, end } = self.statistics.clone();
            while at + 8 * VECTORS <= end {
                // SAFETY: statistics whose tiles are done, here and below.
                unsafe { self.vectors::<S, VECTORS>(simd, sums, at, 8) };
                at += 8 * VECTORS;
            }
            for at in (at..end).step_by(8) {
                // SAFETY: the same.
                unsafe { self.vectors::<S, 1>(simd, sums, at, (end - at).min(8)) };
            }
        }
    }
}

/// Moments from sums, where those hold.
pub(crate) struct Judge<'a> {
    pub(crate) statistics: Range<usize>,
    pub(crate) sums: [Shared<f64>; 2],
    /// What deviations were taken from; NaN once a statistic is done.
    pub(crate) shift: Shared<f64>,
    pub(crate) count: f64,
    pub(crate) precision: Precision,
    pub(crate) mean: Shared<f64>,
    pub(crate) m2: Shared<f64>,
    /// Whether the sums of any do not hold.
    pub(crate) any: &'a mut bool,
}

impl Kernel for Judge<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for at in self.statistics.clone().step_by(8) {
            let count = (self.statistics.end - at).min(8);
            // SAFETY: statistics that this call settles, here and below.
            let [first, second, shift] = [self.sums[0], self.sums[1], self.shift]
                .map(|numbers| unsafe { load::<f64, S>(simd, numbers.at(at), count) });
            let judged = judge(simd, [first, second], self.count, shift, self.precision, 0);
            let done = shift.select(S::F64::splat(simd, f64::NAN), judged.good);
            // SAFETY: the same.
            unsafe {
                store::<f64, S>(simd, judged.mean, self.mean.at(at), count);
                store::<f64, S>(simd, judged.m2, self.m2.at(at), count);
                store::<f64, S>(simd, done, self.shift.at(at), count);
            }
            *self.any |= !judged.good & first_lanes(count) != 0;
        }
    }
}

/// Where coefficients go, by statistic.
#[derive(Clone, Copy)]
pub(crate) struct Places<R, const N: usize> {
    pub(crate) lanes: [Shared<R>; N],
    /// Not 0 where those of a statistic need `f64`.
    pub(crate) marks: Shared<f64>,
}

impl<R: Real, const N: usize> Places<R, N> {
    /// # Safety
    ///
    /// They are places of statistics that the caller settles.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, simd: S, at: usize, count: usize, (k, wide): ([S::F64; N], u32)) {
        let wide = if size_of::<R>() == 8 { 0 } else { wide };
        let marks = S::F64::splat(simd, 1.0).keep(wide);
        // SAFETY: the caller's, here and below.
        unsafe { store::<f64, S>(simd, marks, self.marks.at(at), count) };
        for (lanes, k) in self.lanes.iter().zip(k) {
            // SAFETY: the same.
            unsafe { R::put(k, lanes.at(at), count) };
        }
    }

    /// Whether any of some statistics needs `f64`.
    ///
    /// # Safety
    ///
    /// They are settled.
    pub(crate) unsafe fn any_wide(&self, mut statistics: Range<usize>) -> bool {
        // SAFETY: the caller's.
        statistics.any(|statistic| unsafe { self.is_wide(statistic) })
    }

    /// Whether a statistic needs `f64`.
    ///
    /// # Safety
    ///
    /// It is settled.
    pub(crate) unsafe fn is_wide(&self, statistic: usize) -> bool {
        // SAFETY: the caller's.
        unsafe { self.marks.get(statistic) != 0.0 }
    }
}

/// The coefficients of forward.
pub(crate) struct SettleForward<'a, R> {
    pub(crate) cut: &'a Cut,
    /// The channels, of any part.
    pub(crate) tile: Tile,
    pub(crate) of: &'a Affine<'a>,
    /// Where inv_std is wanted.
    pub(crate) inv_std: Option<Shared<f64>>,
    pub(crate) to: Places<R, 3>,
}

impl<R: Real> Kernel for SettleForward<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, of, inv_std, to } = self;
        let first = cut.problem.channels() * tile.group;
        for c in tile.channels.clone().step_by(8) {
            let (at, count) = (first + c, (tile.channels.end - c).min(8));
            // SAFETY: channels whose moments are there.
            let numbers = unsafe { of.lanes(simd, tile.group, c, count) };
            if let Some(wanted) = inv_std {
                // SAFETY: statistics that this call settles, here and below.
                unsafe { store::<f64, S>(simd, numbers[1], wanted.at(at), count) };
            }
            // SAFETY: the same.
            unsafe { to.put(simd, at, count, forward_coefficients::<S, R>(simd, numbers)) };
        }
    }
}

/// What backward's deviations are taken from.
#[derive(Clone, Copy)]
pub(crate) struct Means<R> {
    /// The means as lanes hold them.
    pub(crate) centre: Shared<R>,
    /// The means.
    pub(crate) exact: Shared<f64>,
    /// Not 0 where the sums of a channel are taken again in `f64`.
    pub(crate) again: Shared<f64>,
}

/// Chooses what deviations of some statistics are taken from.
pub(crate) struct BeginGradients<'a, R> {
    pub(crate) statistics: Range<usize>,
    pub(crate) normalizer: Normalizer<'a>,
    pub(crate) to: Means<R>,
}

impl<R: Real> Kernel for BeginGradients<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { statistics, normalizer, to } = self;
        for at in statistics.clone().step_by(8) {
            let count = (statistics.end - at).min(8);
            // SAFETY: statistics of the problem.
            let [mean, inv_std] = unsafe { normalizer.lanes(simd, at, count) };
            let centre = rounded::<S, R>(simd, mean);
            // Zeros do no harm where the sums are taken again in `f64`.
            let kept = if size_of::<R>() == 8 {
                u32::MAX
            } else {
                !deviations_do_not_fit(simd, mean, inv_std)
            };
            // SAFETY: places that only this call uses, before anyone reads them.
            unsafe {
                R::put(centre.keep(kept), to.centre.at(at), count);
                store::<f64, S>(simd, mean, to.exact.at(at), count);
                store::<f64, S>(simd, S::F64::splat(simd, 0.0), to.again.at(at), count);
            }
        }
    }
}

/// Writes the sums of backward, and marks those that do not hold.
pub(crate) struct JudgeGradients<'a> {
    pub(crate) statistics: Range<usize>,
    pub(crate) sums: [Shared<f64>; 2],
    pub(crate) count: f64,
    pub(crate) normalizer: Normalizer<'a>,
    pub(crate) to: GradientSums,
    /// [`Means::again`], for statistics whose sums do not hold; `None` where all were taken in `f64` about the
    /// mean itself.
    pub(crate) again: Option<Shared<f64>>,
    /// Whether there is any.
    pub(crate) any: &'a mut bool,
}

impl Kernel for JudgeGradients<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for at in self.statistics.clone().step_by(8) {
            let count = (self.statistics.end - at).min(8);
            // SAFETY: statistics that this call settles, here and below.
            let [first, mut second] =
                self.sums.map(|sums| unsafe { load::<f64, S>(simd, sums.at(at), count) });
            // SAFETY: the same.
            let [mean, inv_std] = unsafe { self.normalizer.lanes(simd, at, count) };
            if let Some(again) = self.again {
                let lost = deviations_do_not_fit(simd, mean, inv_std)
                    | gradient_sums_do_not_hold(simd, [first, second], self.count);
                let lost = lost & first_lanes(count);
                if lost != 0 {
                    let marks = S::F64::splat(simd, 1.0).keep(lost);
                    // SAFETY: the same.
                    unsafe { store::<f64, S>(simd, marks, again.at(at), count) };
                    *self.any = true;
                }
                // They were taken about the centre.
                let lacking = mean.sub(rounded::<S, f32>(simd, mean));
                second = second.sub(lacking.mul(first));
            }
            // SAFETY: the same.
            unsafe {
                store::<f64, S>(simd, first, self.to.dy.at(at), count);
                store::<f64, S>(simd, second.mul(inv_std), self.to.dy_xhat.at(at), count);
            }
        }
    }
}

/// The coefficients of backward.
pub(crate) struct SettleBackward<'a, T, R> {
    pub(crate) cut: &'a Cut,
    /// The channels, of any part.
    pub(crate) tile: Tile,
    pub(crate) make: &'a MakeGradient<'a, T>,
    pub(crate) normalizer: Option<Normalizer<'a>>,
    pub(crate) to: Places<R, 5>,
}

impl<T, R: Real> Kernel for SettleBackward<'_, T, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, tile, make, normalizer, to } = self;
        let first = cut.problem.channels() * tile.group;
        for c in tile.channels.clone().step_by(8) {
            let (at, count) = (first + c, (tile.channels.end - c).min(8));
            // SAFETY: channels whose sums are there.
            let numbers = unsafe { make.lanes(simd, normalizer, [tile.group, c, at, count]) };
            // SAFETY: statistics that this call settles.
            unsafe { to.put(simd, at, count, backward_coefficients::<S, R>(simd, numbers)) };
        }
    }
}
