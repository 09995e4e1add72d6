//! Backward: the two sums of each channel, and dx from them.

use core::ops::Range;

use bn_core::{Counts, Error, Layout, Problem, SavedTensor};

use crate::channels_first::{Given, Taken};
use crate::channels_last::Table;
use crate::engine::{Engine, Plan};
use crate::forward::{gather, lanes, tabulate};
use crate::shared::Shared;
use crate::simd::{Access, Wide};
use crate::statistics::{backward_coefficients, deviations_fit, gradient_sums_hold};
use crate::tile::{Cut, Tile};
use crate::workspace::pieces;
use crate::{channels_first as first, channels_last as last};

/// The statistics that normalised, as backward finds x̂ from what was saved: x̂ = (x − mean)·inv_std.
#[derive(Clone, Copy)]
pub(crate) struct Normalizer<'a> {
    mean: &'a [f64],
    inv_std: &'a [f64],
    normalized: bool,
}

impl<'a> Normalizer<'a> {
    pub(crate) fn new<T>(saved: SavedTensor<'_, [T]>, mean: &'a [f64], inv_std: &'a [f64]) -> Self {
        Self { mean, inv_std, normalized: matches!(saved, SavedTensor::Normalized(_)) }
    }

    fn of(&self, statistic: usize) -> (f64, f64) {
        if self.normalized { (0.0, 1.0) } else { (self.mean[statistic], self.inv_std[statistic]) }
    }

    /// The mean in two parts, and whether they do as `f32`.
    fn parts(&self, statistic: usize) -> ([f64; 2], bool) {
        let (mean, inv_std) = self.of(statistic);
        let fits = deviations_fit(mean, inv_std);
        // A mean beyond f32 has no high part there: it would be infinite.
        let high = if fits { f64::from(mean as f32) } else { mean };
        ([high, mean - high], fits)
    }
}

/// Where Σdy and Σdy·x̂ go, G·C values each.
#[derive(Clone, Copy)]
pub(crate) struct GradientSums {
    pub(crate) dy: Shared<f64>,
    pub(crate) dy_xhat: Shared<f64>,
}

/// What dx is made with.
pub(crate) struct MakeGradient<'a, T> {
    pub(crate) taken: Taken<T>,
    /// The sums and counts, where statistics were those of the batch.
    pub(crate) batch: Option<(GradientSums, &'a Counts)>,
    /// 1/sqrt(variance + eps), even where x̂ was saved.
    pub(crate) inv_std: &'a [f64],
    /// gamma of a channel.
    pub(crate) gamma: &'a (dyn Fn(usize) -> f64 + Sync),
}

impl<T> MakeGradient<'_, T> {
    fn coefficients(
        &self,
        problem: &Problem,
        normalizer: Option<Normalizer<'_>>,
        statistic: usize,
    ) -> ([f64; 6], bool) {
        let (group, c) = (statistic / problem.channels(), statistic % problem.channels());
        let inv_std = self.inv_std[statistic];
        let scale = (self.gamma)(c) * inv_std;
        let (Some((sums, counts)), Some(normalizer)) = (self.batch, normalizer) else {
            return backward_coefficients(0.0, 0.0, 0.0, scale, 1.0);
        };
        let count = counts.of(group) as f64;
        // SAFETY: the sums of this statistic are there before its coefficients are asked for.
        let mean_dy = unsafe { sums.dy.get(statistic) } / count;
        // SAFETY: the same.
        let mean_dy_xhat = unsafe { sums.dy_xhat.get(statistic) } / count;
        let (mean, factor) = normalizer.of(statistic);
        backward_coefficients(mean, mean_dy, mean_dy_xhat * factor, scale, factor)
    }
}

/// Sums gradients, makes dx, or both in one sweep.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub(crate) fn backward<A: Access>(
    engine: &Engine,
    problem: Problem,
    given: Given<A::Stored>,
    normalizer: Option<Normalizer<'_>>,
    reduce: Option<GradientSums>,
    make: Option<&MakeGradient<'_, A::Stored>>,
) -> Result<(), Error> {
    let cut = Cut::new(problem);
    let (statistics, size) = (problem.statistics(), size_of::<A::Stored>());
    let plan = engine.plan(cut, size, 3);
    let all = cut.parts * statistics;
    let len = if reduce.is_some() { 2 * all } else { 0 } + 10 * statistics;
    engine.spaces.lend(len, |space| {
        let (table, space) = pieces::<6>(space, statistics);
        let table = table.map(lanes::<A::Scalar>);
        let ([high, low, exact, zero], space) = pieces::<4>(space, statistics);
        let (means, exact) = ([high, low].map(lanes::<A::Scalar>), [exact, zero]);
        let exact = exact.map(Shared::writing);
        let reducing = reduce.zip(normalizer).map(|(to, normalizer)| {
            let ([one, two], _) = pieces::<2>(space, all);
            let sums = [one, two].map(Shared::writing);
            Reducing { given, to, normalizer, sums, means, exact }
        });
        if let Some(reducing) = &reducing {
            let _ = tabulate(statistics, means, |of| reducing.normalizer.parts(of));
            for statistic in 0..statistics {
                // SAFETY: places of the scratch, before any thread reads them.
                unsafe { exact[0].set(statistic, reducing.normalizer.of(statistic).0) };
                // SAFETY: the same.
                unsafe { exact[1].set(statistic, 0.0) };
            }
        }
        let sum = reducing
            .as_ref()
            .map(|reducing| move |tile| reducing.sum::<A>(engine, &cut, reducing.means, tile));
        let settle = |group, channels| {
            if let Some(reducing) = &reducing {
                reducing.settle::<A>(engine, &plan, group, channels);
            }
        };
        let given = Given { x: make.and_then(|make| make.batch).and(given.x), ..given };
        let stream = engine.streams(problem.elements(), size);
        match problem.layout() {
            Layout::ChannelsFirst => {
                let write = make.map(|make| {
                    let cut = &cut;
                    move |tile| {
                        let coefficients =
                            &|statistic| make.coefficients(&problem, normalizer, statistic);
                        let taken = make.taken;
                        if stream {
                            engine.run(first::Apply::<A, _, true> {
                                cut,
                                tile,
                                given,
                                taken,
                                coefficients,
                            });
                        } else {
                            engine.run(first::Apply::<A, _, false> {
                                cut,
                                tile,
                                given,
                                taken,
                                coefficients,
                            });
                        }
                    }
                });
                engine.sweep(&plan, sum.as_ref(), &settle, write.as_ref());
            }
            Layout::ChannelsLast => {
                engine.sweep(&plan, sum.as_ref(), &settle, None::<&fn(Tile)>);
                let Some(make) = make else { return };
                let wide = tabulate(statistics, table, |statistic| {
                    make.coefficients(&problem, normalizer, statistic)
                });
                let table = &Table { lanes: table, wide: &wide };
                let (cut, taken) = (&cut, make.taken);
                let write = |tile| {
                    if stream {
                        engine.run(last::Apply::<A, true> { cut, tile, given, taken, table });
                    } else {
                        engine.run(last::Apply::<A, false> { cut, tile, given, taken, table });
                    }
                };
                engine.sweep(&plan, None::<&fn(Tile)>, &settle, Some(&write));
            }
        }
    })
}

/// The mark of a channel whose sums are taken again: a zero, for it is what the mean's second part is
/// in `f64`, with a sign.
const AGAIN: f64 = -0.0;

/// The first half: what is summed and where it goes.
struct Reducing<'a, T, R> {
    given: Given<T>,
    to: GradientSums,
    normalizer: Normalizer<'a>,
    sums: [Shared<f64>; 2],
    /// The means in two parts as lanes.
    means: [Shared<R>; 2],
    /// The means as `f64`, and zeros.
    exact: [Shared<f64>; 2],
}

impl<T: bn_core::Element, R: Send + Sync> Reducing<'_, T, R> {
    fn sum<A: Access<Stored = T>>(
        &self,
        engine: &Engine,
        cut: &Cut,
        means: [Shared<A::Scalar>; 2],
        tile: Tile,
    ) {
        let (given, sums) = (self.given, self.sums);
        match cut.problem.layout() {
            Layout::ChannelsFirst => {
                engine.run(first::SumGradients::<A> { cut, tile, given, means, sums });
            }
            Layout::ChannelsLast => {
                engine.run(last::SumGradients::<A> { cut, tile, given, means, sums });
            }
        }
    }

    /// Writes the sums of some channels of a group (channels-first) or of all (channels-last), and
    /// takes again in `f64` those that do not hold.
    fn settle<A: Access<Stored = T>>(
        &self,
        engine: &Engine,
        plan: &Plan,
        group: usize,
        channels: Range<usize>,
    ) {
        let problem = plan.cut.problem;
        let last = problem.layout() == Layout::ChannelsLast;
        let groups = if last { 0..problem.groups() } else { group..group + 1 };
        let count = problem.count() as f64;
        for group in groups {
            let mut again: Option<Range<usize>> = None;
            for c in channels.clone() {
                let statistic = group * problem.channels() + c;
                let sums = gather(&plan.cut, self.sums, statistic);
                let narrow = size_of::<A::Scalar>() < 8;
                let fits = self.normalizer.parts(statistic).1;
                if narrow && !(fits && gradient_sums_hold(sums, count)) {
                    // Marked for the second round, which sums its neighbours too.
                    // SAFETY: the place of a statistic that only this call settles.
                    unsafe { self.exact[1].set(statistic, AGAIN) };
                    // From a multiple of eight, because bits are read by whole bytes.
                    let start = again.as_ref().map_or(c / 8 * 8, |again| again.start);
                    again = Some(start..c + 1);
                    continue;
                }
                self.write(statistic, [sums.first, sums.second]);
            }
            let Some(range) = again else { continue };
            let tile = |part| Tile { group, channels: range.clone(), part };
            let work = |part| {
                self.sum::<Wide<T>>(engine, &plan.cut, self.exact, tile(part));
            };
            if last {
                engine.team.each(plan.workers, plan.cut.parts, work);
            } else {
                (0..plan.cut.parts).for_each(work);
            }
            for c in range.start.max(channels.start)..range.end {
                let statistic = group * problem.channels() + c;
                // SAFETY: the same.
                if unsafe { self.exact[1].get(statistic) }.is_sign_negative() {
                    let sums = gather(&plan.cut, self.sums, statistic);
                    self.write(statistic, [sums.first, sums.second]);
                }
            }
        }
    }

    fn write(&self, statistic: usize, [sum_dy, sum_dy_x]: [f64; 2]) {
        let (_, inv_std) = self.normalizer.of(statistic);
        // SAFETY: the place of a statistic that only this call settles.
        unsafe { self.to.dy.set(statistic, sum_dy) };
        // SAFETY: the same.
        unsafe { self.to.dy_xhat.set(statistic, sum_dy_x * inv_std) };
    }
}
