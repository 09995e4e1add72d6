//! Backward: the two sums of each channel, and dx from them.

use core::marker::PhantomData;
use core::ops::Range;

use bn_core::{Counts, Error, Layout, Problem, SavedTensor};

use crate::channels_first::outputs::{Gradient, GradientSum};
use crate::channels_first::short::{ShortRows, is_short};
use crate::channels_first::strip::{Span, Step};
use crate::channels_first::sums::SumRows;
use crate::channels_first::{Given, Taken};
use crate::channels_last::Table;
use crate::engine::{Engine, Plan, Units};
use crate::forward::{fold_parts, gather, lanes};
use crate::run::Through;
use crate::shared::Shared;
use crate::simd::{Access, Real, Wide};
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
    let plan = engine.plan(cut, size, 3, reduce.is_some() && make.is_some());
    let all = cut.parts * statistics;
    let padded = last::padded(&problem);
    let len = 6 * padded + 5 * statistics + if reduce.is_some() { 2 * all } else { 0 };
    engine.spaces.lend(len, |space| {
        let (table, space) = pieces::<6>(space, padded);
        let table = table.map(lanes::<A::Scalar>);
        let ([marks, high, low, mean, zero], space) = pieces::<5>(space, statistics);
        let (marks, means) = (Shared::writing(marks), [high, low].map(lanes::<A::Scalar>));
        let exact = [mean, zero].map(Shared::writing);
        let reducing = reduce.zip(normalizer).map(|(to, normalizer)| {
            let ([one, two], _) = pieces::<2>(space, all);
            let sums = [one, two].map(Shared::writing);
            Reducing { given, to, normalizer, sums, means, exact }
        });
        let given = Given { x: make.and_then(|make| make.batch).and(given.x), ..given };
        let stream = engine.streams(problem.elements(), size);
        match problem.layout() {
            Layout::ChannelsFirst => {
                let plan = &plan;
                let work = First::<A> {
                    engine,
                    plan,
                    reducing,
                    normalizer,
                    given,
                    make,
                    table,
                    marks,
                    stream,
                };
                engine.by_units(plan, &work);
            }
            Layout::ChannelsLast => {
                if let Some(reducing) = &reducing {
                    (0..statistics).for_each(|statistic| reducing.begin(statistic));
                    engine.by_parts(&plan, false, &|tile| {
                        let (given, sums) = (reducing.given, reducing.sums);
                        let cut = &cut;
                        if matches!(given.through, Through::Everything) {
                            engine.run(last::SumGradients::<A, true> {
                                cut,
                                tile,
                                given,
                                means,
                                sums,
                            });
                        } else {
                            engine.run(last::SumGradients::<A, false> {
                                cut,
                                tile,
                                given,
                                means,
                                sums,
                            });
                        }
                    });
                    reducing.settle::<A>(engine, &plan, 0, 0..problem.channels());
                }
                let Some(make) = make else { return };
                let wide = last::tabulate(&problem, table, |statistic| {
                    make.coefficients(&problem, normalizer, statistic)
                });
                let table = &Table { lanes: table, wide: &wide };
                let (cut, taken) = (&cut, make.taken);
                let plain = matches!(given.through, Through::Everything)
                    && given.x.is_some()
                    && taken.dresidual.is_none()
                    && taken.mask.is_none();
                engine.by_parts(&plan, true, &|tile| {
                    if table.has_wide(tile.group, problem.channels()) {
                        let apply =
                            last::Apply::<A, false, false> { cut, tile, given, taken, table };
                        return engine.run_seldom(last::RowByRow(apply));
                    }
                    macro_rules! run {
                        ($plain:literal, $stream:literal) => {
                            engine.run(last::Apply::<A, $plain, $stream> {
                                cut,
                                tile,
                                given,
                                taken,
                                table,
                            })
                        };
                    }
                    match (plain, stream) {
                        (false, false) => run!(false, false),
                        (false, true) => run!(false, true),
                        (true, false) => run!(true, false),
                        (true, true) => run!(true, true),
                    }
                });
            }
        }
    })
}

/// Channels-first, unit by unit.
struct First<'a, A: Access> {
    engine: &'a Engine,
    plan: &'a Plan,
    reducing: Option<Reducing<'a, A::Stored, A::Scalar>>,
    normalizer: Option<Normalizer<'a>>,
    given: Given<A::Stored>,
    make: Option<&'a MakeGradient<'a, A::Stored>>,
    table: [Shared<A::Scalar>; 6],
    /// Not 0 where the coefficients of a statistic need `f64`.
    marks: Shared<f64>,
    stream: bool,
}

impl<A: Access> First<'_, A> {
    fn statistics(&self, unit: &Tile) -> Range<usize> {
        let first = unit.group * self.plan.cut.problem.channels();
        first + unit.channels.start..first + unit.channels.end
    }
}

impl<A: Access> Units for First<'_, A> {
    fn sums(&self) -> bool {
        self.reducing.is_some()
    }

    fn writes(&self) -> bool {
        self.make.is_some()
    }

    fn begin(&self, unit: &Tile) {
        if let Some(reducing) = &self.reducing {
            self.statistics(unit).for_each(|statistic| reducing.begin(statistic));
        }
    }

    fn step(&self, sum: Option<Span>, write: Option<Span>) {
        let (engine, cut, given) = (self.engine, &self.plan.cut, self.given);
        let mut write = self.make.zip(write);
        // SAFETY: the marks of a unit are there before it is written.
        let is_marked = |statistic| unsafe { self.marks.get(statistic) } != 0.0;
        if let Some((make, span)) = &write
            && self.statistics(&span.tile).any(is_marked)
        {
            for part in cut.part_of(span.strips.start)..=cut.part_of(span.strips.end - 1) {
                engine.run_seldom(first::Apply::<A, _> {
                    cut,
                    tile: Tile { part, ..span.tile.clone() },
                    given,
                    taken: make.taken,
                    coefficients: &|statistic| {
                        make.coefficients(&cut.problem, self.normalizer, statistic)
                    },
                });
            }
            write = None;
        }
        let mut sum = self.reducing.as_ref().zip(sum);
        if let Some((reducing, span)) = &sum
            && let Given { dy, through: Through::Everything, x: Some(x) } = reducing.given
            && is_short(cut)
        {
            for part in cut.part_of(span.strips.start)..=cut.part_of(span.strips.end - 1) {
                let tile = Tile { part, ..span.tile.clone() };
                let (dy, shifts, sums) = (Some(dy), reducing.means, reducing.sums);
                engine.run(ShortRows::<A> { cut, tile, x, dy, shifts, sums });
            }
            sum = None;
        }
        let is_open = matches!(given.through, Through::Everything);
        macro_rules! sums {
            ($plain:literal) => {
                sum.and_then(|(reducing, span)| {
                    let (Given { dy, through, x }, means) = (reducing.given, reducing.means);
                    Some(SumRows::<A, _> {
                        cut,
                        span,
                        sum: GradientSum::<A, $plain> { dy, through, x: x?, means },
                        to: reducing.sums,
                        ahead: self.plan.ahead,
                        next: self.plan.next,
                        access: PhantomData,
                    })
                })
            };
        }
        let Some((make, span)) = write else {
            return if is_open {
                sums!(true).into_iter().for_each(|sum| engine.run(sum));
            } else {
                sums!(false).into_iter().for_each(|sum| engine.run(sum));
            };
        };
        macro_rules! run {
            ($plain:literal, $stream:literal) => {
                engine.run(Step::<A, _, _, 6, $stream> {
                    cut,
                    sum: sums!($plain),
                    write: (span, Gradient::<_, $plain> { given, taken: make.taken }),
                    table: self.table,
                    ahead: self.plan.ahead_of_writes(self.reducing.is_some()),
                    forwards: self.reducing.is_none(),
                })
            };
        }
        let plain = is_open
            && given.x.is_some()
            && make.taken.dresidual.is_none()
            && make.taken.mask.is_none();
        match (plain, self.stream) {
            (false, false) => run!(false, false),
            (false, true) => run!(false, true),
            (true, false) => run!(true, false),
            (true, true) => run!(true, true),
        }
    }

    fn settle(&self, unit: &Tile) {
        if let Some(reducing) = &self.reducing {
            reducing.settle::<A>(self.engine, self.plan, unit.group, unit.channels.clone());
        }
        let Some(make) = self.make else { return };
        for statistic in self.statistics(unit) {
            let problem = &self.plan.cut.problem;
            let (exact, narrow) = make.coefficients(problem, self.normalizer, statistic);
            let narrow = narrow || size_of::<A::Scalar>() == 8;
            // SAFETY: the places of a statistic of this unit, which this call settles.
            unsafe {
                self.marks.set(statistic, if narrow { 0.0 } else { 1.0 });
                for (lane, exact) in self.table.iter().zip(exact) {
                    lane.set(statistic, A::Scalar::of(exact));
                }
            }
        }
    }
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

impl<T: bn_core::Element, R: Real> Reducing<'_, T, R> {
    /// Takes the mean of a statistic apart.
    fn begin(&self, statistic: usize) {
        let (parts, narrow) = self.normalizer.parts(statistic);
        for (means, part) in self.means.iter().zip(parts) {
            // Zeros do no harm where the sums are taken again in `f64`.
            let part = if narrow || size_of::<R>() == 8 { part } else { 0.0 };
            // SAFETY: places of the scratch that only this call uses, before anyone reads them.
            unsafe { means.set(statistic, R::of(part)) };
        }
        // SAFETY: the same.
        unsafe { self.exact[0].set(statistic, self.normalizer.of(statistic).0) };
        // SAFETY: the same.
        unsafe { self.exact[1].set(statistic, 0.0) };
    }

    /// Sums a tile in `f64`.
    fn sum_exactly(&self, engine: &Engine, cut: &Cut, tile: Tile) {
        let (given, sums, means) = (self.given, self.sums, self.exact);
        match cut.problem.layout() {
            Layout::ChannelsFirst => {
                engine.run_seldom(first::SumGradients::<Wide<T>> { cut, tile, given, means, sums });
            }
            Layout::ChannelsLast => {
                engine.run_seldom(last::SumGradients::<Wide<T>, false> {
                    cut,
                    tile,
                    given,
                    means,
                    sums,
                });
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
            let first = group * problem.channels();
            fold_parts(&plan.cut, self.sums, first + channels.start..first + channels.end);
            for c in channels.clone() {
                let statistic = group * problem.channels() + c;
                let sums = gather(self.sums, statistic);
                let narrow = size_of::<A::Scalar>() < 8;
                let fits = self.normalizer.parts(statistic).1;
                if narrow && !(fits && gradient_sums_hold(sums, count)) {
                    // Marked for the second round, which sums its neighbours too.
                    // SAFETY: the place of a statistic that only this call settles.
                    unsafe { self.exact[1].set(statistic, AGAIN) };
                    // In channels-last from a multiple of eight, because bits are read by whole bytes; in
                    // channels-first the neighbours are another thread's.
                    let first = if last { c / 8 * 8 } else { c };
                    let start = again.as_ref().map_or(first, |again| again.start);
                    again = Some(start..c + 1);
                    continue;
                }
                self.write(statistic, [sums.first, sums.second]);
            }
            let Some(range) = again else { continue };
            let tile = |part| Tile { group, channels: range.clone(), part };
            let work = |part| self.sum_exactly(engine, &plan.cut, tile(part));
            if last {
                engine.team.each(plan.workers, plan.cut.parts, work);
            } else {
                (0..plan.cut.parts).for_each(work);
            }
            fold_parts(&plan.cut, self.sums, first + range.start..first + range.end);
            for c in range.start.max(channels.start)..range.end {
                let statistic = group * problem.channels() + c;
                // SAFETY: the same.
                if unsafe { self.exact[1].get(statistic) }.is_sign_negative() {
                    let sums = gather(self.sums, statistic);
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
