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
use crate::statistics::{Sums, backward_coefficients, deviations_fit, gradient_sums_hold};
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

    /// The mean as lanes hold it, which deviations are taken from; `None` where those need `f64`.
    fn centre<R: Real>(&self, statistic: usize) -> Option<f64> {
        let (mean, inv_std) = self.of(statistic);
        if size_of::<R>() == 8 {
            Some(mean)
        } else {
            deviations_fit(mean, inv_std).then_some(f64::from(mean as f32))
        }
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
    fn coefficients<R: Real>(
        &self,
        problem: &Problem,
        normalizer: Option<Normalizer<'_>>,
        statistic: usize,
    ) -> ([f64; 5], bool) {
        let (group, c) = (statistic / problem.channels(), statistic % problem.channels());
        let inv_std = self.inv_std[statistic];
        let scale = (self.gamma)(c) * inv_std;
        let (Some((sums, counts)), Some(normalizer)) = (self.batch, normalizer) else {
            return backward_coefficients::<R>(0.0, 0.0, 0.0, scale, 1.0);
        };
        let count = counts.of(group) as f64;
        // SAFETY: the sums of this statistic are there before its coefficients are asked for.
        let mean_dy = unsafe { sums.dy.get(statistic) } / count;
        // SAFETY: the same.
        let mean_dy_xhat = unsafe { sums.dy_xhat.get(statistic) } / count;
        let (mean, factor) = normalizer.of(statistic);
        backward_coefficients::<R>(mean, mean_dy, mean_dy_xhat * factor, scale, factor)
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
    let len = 5 * padded + 4 * statistics + if reduce.is_some() { 2 * all } else { 0 };
    engine.spaces.lend(len, |space| {
        let (table, space) = pieces::<5>(space, padded);
        let table = table.map(lanes::<A::Scalar>);
        let ([marks, centre, exact, again], space) = pieces::<4>(space, statistics);
        let (marks, centre) = (Shared::writing(marks), lanes::<A::Scalar>(centre));
        let [exact, again] = [exact, again].map(Shared::writing);
        let reducing = reduce.zip(normalizer).map(|(to, normalizer)| {
            let ([one, two], _) = pieces::<2>(space, all);
            let sums = [one, two].map(Shared::writing);
            Reducing { given, to, normalizer, sums, centre, exact, again }
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
                        let (given, centre, sums) =
                            (reducing.given, reducing.centre, reducing.sums);
                        let cut = &cut;
                        if matches!(given.through, Through::Everything) {
                            engine.run(last::SumGradients::<A, true> {
                                cut,
                                tile,
                                given,
                                centre,
                                sums,
                            });
                        } else {
                            engine.run(last::SumGradients::<A, false> {
                                cut,
                                tile,
                                given,
                                centre,
                                sums,
                            });
                        }
                    });
                    reducing.settle::<A>(engine, &plan, 0, 0..problem.channels());
                }
                let Some(make) = make else { return };
                let wide = last::tabulate(&problem, table, |statistic| {
                    make.coefficients::<A::Scalar>(&problem, normalizer, statistic)
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
    table: [Shared<A::Scalar>; 5],
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
                        make.coefficients::<A::Scalar>(&cut.problem, self.normalizer, statistic)
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
                let (dy, shift, sums) = (Some(dy), reducing.centre, reducing.sums);
                engine.run(ShortRows::<A> { cut, tile, x, dy, shift, sums });
            }
            sum = None;
        }
        let is_open = matches!(given.through, Through::Everything);
        macro_rules! sums {
            ($plain:literal) => {
                sum.and_then(|(reducing, span)| {
                    let (Given { dy, through, x }, centre) = (reducing.given, reducing.centre);
                    Some(SumRows::<A, _> {
                        cut,
                        span,
                        sum: GradientSum::<A, $plain> { dy, through, x: x?, centre },
                        to: reducing.sums,
                        ahead: self.plan.ahead_of_sums(),
                        hint: self.plan.tuning.hint,
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
                engine.run(Step::<A, _, _, 5, $stream> {
                    cut,
                    sum: sums!($plain),
                    write: (span, Gradient::<_, $plain> { given, taken: make.taken }),
                    table: self.table,
                    ahead: self.plan.ahead_of_writes(self.reducing.is_some()),
                    turn: self.plan.tuning.turn,
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
            let (exact, narrow) =
                make.coefficients::<A::Scalar>(problem, self.normalizer, statistic);
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

/// The first half: what is summed and where it goes.
struct Reducing<'a, T, R> {
    given: Given<T>,
    to: GradientSums,
    normalizer: Normalizer<'a>,
    sums: [Shared<f64>; 2],
    /// The means as lanes hold them.
    centre: Shared<R>,
    /// The means.
    exact: Shared<f64>,
    /// Not 0 where the sums of a channel are taken again in `f64`.
    again: Shared<f64>,
}

impl<T: bn_core::Element, R: Real> Reducing<'_, T, R> {
    /// Chooses what deviations of a statistic are taken from.
    fn begin(&self, statistic: usize) {
        // Zeros do no harm where the sums are taken again in `f64`.
        let centre = self.normalizer.centre::<R>(statistic).unwrap_or(0.0);
        // SAFETY: places of the scratch that only this call uses, before anyone reads them.
        unsafe {
            self.centre.set(statistic, R::of(centre));
            self.exact.set(statistic, self.normalizer.of(statistic).0);
            self.again.set(statistic, 0.0);
        }
    }

    /// Sums a tile in `f64`.
    fn sum_exactly(&self, engine: &Engine, cut: &Cut, tile: Tile) {
        let (given, sums, centre) = (self.given, self.sums, self.exact);
        match cut.problem.layout() {
            Layout::ChannelsFirst => {
                engine.run_seldom(first::SumGradients::<Wide<T>> {
                    cut,
                    tile,
                    given,
                    centre,
                    sums,
                });
            }
            Layout::ChannelsLast => {
                engine.run_seldom(last::SumGradients::<Wide<T>, false> {
                    cut,
                    tile,
                    given,
                    centre,
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
                let centre = self.normalizer.centre::<R>(statistic);
                let Some(centre) =
                    centre.filter(|_| size_of::<R>() == 8 || gradient_sums_hold(sums, count))
                else {
                    // Marked for the second round, which sums its neighbours too.
                    // SAFETY: the place of a statistic that only this call settles.
                    unsafe { self.again.set(statistic, 1.0) };
                    // In channels-last from a multiple of eight, because bits are read by whole bytes; in
                    // channels-first the neighbours are another thread's.
                    let first = if last { c / 8 * 8 } else { c };
                    let start = again.as_ref().map_or(first, |again| again.start);
                    again = Some(start..c + 1);
                    continue;
                };
                self.write(statistic, sums, centre);
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
                if unsafe { self.again.get(statistic) } != 0.0 {
                    let mean = self.normalizer.of(statistic).0;
                    self.write(statistic, gather(self.sums, statistic), mean);
                }
            }
        }
    }

    /// Writes the sums of a statistic that were taken about a centre.
    fn write(&self, statistic: usize, sums: Sums, centre: f64) {
        let (mean, inv_std) = self.normalizer.of(statistic);
        let about_mean = sums.second - (mean - centre) * sums.first;
        // SAFETY: the places of a statistic that only this call settles.
        unsafe {
            self.to.dy.set(statistic, sums.first);
            self.to.dy_xhat.set(statistic, about_mean * inv_std);
        }
    }
}
