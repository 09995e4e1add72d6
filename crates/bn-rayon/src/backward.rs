//! Backward: the two sums of each channel, and dx from them.

use core::marker::PhantomData;
use core::ops::Range;

use bn_core::{Counts, Error, Layout, Problem, SavedTensor};

use crate::channels_first::outputs::{Gradient, GradientSum};
use crate::channels_first::short::{SumShort, is_short, run_step};
use crate::channels_first::strip::{Span, Step};
use crate::channels_first::sums::SumRows;
use crate::channels_first::{Given, Taken};
use crate::channels_last::Table;
use crate::engine::{Engine, Plan, Units};
use crate::forward::{gather, lanes};
use crate::run::{Through, load};
use crate::settle::{BeginGradients, Fold, JudgeGradients, Means, Places, SettleBackward};
use crate::shared::Shared;
use crate::simd::{Access, Eight, Real, Simd, Vector, Wide};
use crate::source::Numbers;
use crate::statistics::{Sums, backward_coefficients};
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

    /// The same of `count` statistics from `at` on.
    ///
    /// # Safety
    ///
    /// They are the problem's.
    #[inline(always)]
    pub(crate) unsafe fn lanes<S: Simd>(&self, simd: S, at: usize, count: usize) -> [S::F64; 2] {
        if self.normalized {
            return [0.0, 1.0].map(|value| S::F64::splat(simd, value));
        }
        // SAFETY: the caller's.
        [self.mean, self.inv_std]
            .map(|values| unsafe { load::<f64, S>(simd, values.as_ptr().wrapping_add(at), count) })
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
    pub(crate) gamma: Numbers,
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
        // SAFETY: a channel of the problem.
        let scale = unsafe { self.gamma.get(c) } * inv_std;
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

    /// What [`backward_coefficients`] is told, of `count` channels of a group from `c` on, whose statistics
    /// begin at `at`.
    ///
    /// # Safety
    ///
    /// They are the problem's, and their sums are there.
    #[inline(always)]
    pub(crate) unsafe fn lanes<S: Simd>(
        &self,
        simd: S,
        normalizer: Option<Normalizer<'_>>,
        [group, c, at, count]: [usize; 4],
    ) -> [S::F64; 5] {
        let splat = |value| S::F64::splat(simd, value);
        let inv_std = self.inv_std.as_ptr().wrapping_add(at);
        // SAFETY: the caller's, here and below.
        let (inv_std, gamma) =
            unsafe { (load::<f64, S>(simd, inv_std, count), self.gamma.lanes(simd, c, count)) };
        let scale = gamma.mul(inv_std);
        let (Some((sums, counts)), Some(normalizer)) = (self.batch, normalizer) else {
            return [splat(0.0), splat(0.0), splat(0.0), scale, splat(1.0)];
        };
        let values = splat(counts.of(group) as f64);
        // SAFETY: the same.
        let [mean_dy, mean_dy_xhat] = [sums.dy, sums.dy_xhat]
            .map(|sums| unsafe { load::<f64, S>(simd, sums.at(at), count) }.div(values));
        // SAFETY: the same.
        let [mean, factor] = unsafe { normalizer.lanes(simd, at, count) };
        [mean, mean_dy, mean_dy_xhat.mul(factor), scale, factor]
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
        let ([marks, centre, exact, again], space) = pieces::<4>(space, statistics);
        let to = Places { lanes: table.map(lanes::<A::Scalar>), marks: Shared::writing(marks) };
        let centre = lanes::<A::Scalar>(centre);
        let [exact, again] = [exact, again].map(Shared::writing);
        let reducing = reduce.zip(normalizer).map(|(to, normalizer)| {
            let ([one, two], _) = pieces::<2>(space, all);
            let sums = [one, two].map(Shared::writing);
            Reducing { given, to, normalizer, sums, means: Means { centre, exact, again } }
        });
        let given = Given { x: make.and_then(|make| make.batch).and(given.x), ..given };
        let stream = engine.streams(problem.elements(), size);
        match problem.layout() {
            Layout::ChannelsFirst => {
                let plan = &plan;
                let work =
                    First::<A> { engine, plan, reducing, normalizer, given, make, to, stream };
                engine.by_units(plan, &work);
            }
            Layout::ChannelsLast => {
                if let Some(reducing) = &reducing {
                    reducing.begin(engine, 0..statistics);
                    engine.by_parts(&plan, false, &|tile| {
                        let (given, centre, sums) =
                            (reducing.given, reducing.means.centre, reducing.sums);
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
                    reducing.settle(engine, &plan, 0, 0..problem.channels());
                }
                let Some(make) = make else { return };
                let (cut, taken, abreast) = (&cut, make.taken, engine.tuning.abreast.is_some());
                let table = &Table::new(
                    &problem,
                    to,
                    |tile, to| engine.run(SettleBackward { cut, tile, make, normalizer, to }),
                    |statistic| make.coefficients::<A::Scalar>(&problem, normalizer, statistic).0,
                );
                let plain = matches!(given.through, Through::Everything)
                    && given.x.is_some()
                    && taken.dresidual.is_none()
                    && taken.mask.is_none();
                engine.by_parts(&plan, true, &|tile| {
                    macro_rules! apply {
                        ($plain:literal, $stream:literal) => {
                            last::Apply::<A, $plain, $stream> {
                                cut,
                                tile,
                                given,
                                taken,
                                table,
                                abreast,
                            }
                        };
                    }
                    if table.has_wide(tile.group, problem.channels()) {
                        return engine.run_seldom(last::RowByRow(apply!(false, false)));
                    }
                    match (plain, stream) {
                        (false, false) => engine.run(apply!(false, false)),
                        (false, true) => engine.run(apply!(false, true)),
                        (true, false) => engine.run(apply!(true, false)),
                        (true, true) => engine.run(apply!(true, true)),
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
    to: Places<A::Scalar, 5>,
    stream: bool,
}

impl<A: Access> Units for First<'_, A> {
    fn sums(&self) -> bool {
        self.reducing.is_some()
    }

    fn writes(&self) -> bool {
        self.make.is_some()
    }

    fn begin(&self, channels: &Tile) {
        if let Some(reducing) = &self.reducing {
            reducing.begin(self.engine, self.plan.cut.statistics(channels));
        }
    }

    fn step(&self, sum: Option<Span>, write: Option<Span>) {
        let (engine, cut, given) = (self.engine, &self.plan.cut, self.given);
        let mut write = self.make.zip(write);
        if let Some((make, span)) = &write
            // SAFETY: a unit is settled before it is written.
            && unsafe { self.to.any_wide(self.plan.cut.statistics(&span.tile)) }
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
                let (dy, shift, sums) = (Some(dy), reducing.means.centre, reducing.sums);
                let hint = engine.tuning.hint;
                engine.run(SumShort::<A> { cut, tile, x, dy, shift, sums, hint });
            }
            sum = None;
        }
        let is_open = matches!(given.through, Through::Everything);
        macro_rules! sums {
            ($plain:literal) => {
                sum.and_then(|(reducing, span)| {
                    let (Given { dy, through, x }, centre) =
                        (reducing.given, reducing.means.centre);
                    Some(SumRows::<A, _> {
                        cut,
                        span,
                        sum: GradientSum::<A, $plain> { dy, through, x: x?, centre },
                        to: reducing.sums,
                        walk: self.plan.walk(),
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
            ($plain:literal, $stream:literal) => {{
                let (sum, output) =
                    (sums!($plain), Gradient::<_, $plain> { given, taken: make.taken });
                run_step(
                    engine,
                    Step::<A, _, _, 5, $stream> {
                        cut,
                        sum,
                        write: (span, output),
                        table: self.to.lanes,
                        ahead: self.plan.ahead_of_writes(self.reducing.is_some()),
                        walk: self.plan.walk(),
                        forwards: self.reducing.is_none(),
                    },
                )
            }};
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
            reducing.settle(self.engine, self.plan, unit.group, unit.channels.clone());
        }
        let Some(make) = self.make else { return };
        let (cut, tile) = (&self.plan.cut, unit.clone());
        let (normalizer, to) = (self.normalizer, self.to);
        self.engine.run(SettleBackward { cut, tile, make, normalizer, to });
    }
}

/// The first half: what is summed and where it goes.
struct Reducing<'a, T, R> {
    given: Given<T>,
    to: GradientSums,
    normalizer: Normalizer<'a>,
    sums: [Shared<f64>; 2],
    means: Means<R>,
}

impl<T: bn_core::Element, R: Real> Reducing<'_, T, R> {
    /// Chooses what deviations of some statistics are taken from.
    fn begin(&self, engine: &Engine, statistics: Range<usize>) {
        let (normalizer, to) = (self.normalizer, self.means);
        engine.run(BeginGradients { statistics, normalizer, to });
    }

    /// Sums a tile in `f64`.
    fn sum_exactly(&self, engine: &Engine, cut: &Cut, tile: Tile) {
        let (given, sums, centre) = (self.given, self.sums, self.means.exact);
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
    fn settle(&self, engine: &Engine, plan: &Plan, group: usize, channels: Range<usize>) {
        let problem = plan.cut.problem;
        let last = problem.layout() == Layout::ChannelsLast;
        let groups = if last { 0..problem.groups() } else { group..group + 1 };
        let count = problem.count() as f64;
        for group in groups {
            let tile = Tile { group, channels: channels.clone(), part: 0 };
            let statistics = plan.cut.statistics(&tile);
            let (cut, sums, normalizer, to) = (&plan.cut, self.sums, self.normalizer, self.to);
            engine.run(Fold { cut, sums, statistics: statistics.clone() });
            let again = (size_of::<R>() < 8).then_some(self.means.again);
            let mut any_again = false;
            let any = &mut any_again;
            engine.run(JudgeGradients { statistics, sums, count, normalizer, to, again, any });
            if any_again {
                self.settle_rest(engine, plan, group, channels.clone());
            }
        }
    }

    /// Takes again in `f64` the sums of those channels that are marked.
    #[cold]
    fn settle_rest(&self, engine: &Engine, plan: &Plan, group: usize, channels: Range<usize>) {
        let last = plan.cut.problem.layout() == Layout::ChannelsLast;
        let first = group * plan.cut.problem.channels();
        // SAFETY: the place of a statistic that only this call settles.
        let is_marked = |&c: &usize| unsafe { self.means.again.get(first + c) } != 0.0;
        let Some(start) = channels.clone().find(is_marked) else { return };
        let end = channels.clone().rfind(is_marked).map_or(start, |c| c) + 1;
        // Neighbours are summed too: in channels-last from a multiple of eight, because bits are read by
        // whole bytes; in channels-first those before the first one are another thread's.
        let range = if last { start / 8 * 8 } else { start }..end;
        let tile = |part| Tile { group, channels: range.clone(), part };
        let work = |part| self.sum_exactly(engine, &plan.cut, tile(part));
        if last {
            engine.team.each(plan.workers, plan.cut.parts, work);
        } else {
            (0..plan.cut.parts).for_each(work);
        }
        let statistics = first + range.start..first + range.end;
        engine.run(Fold { cut: &plan.cut, sums: self.sums, statistics });
        for c in (start..end).filter(is_marked) {
            let statistic = first + c;
            let Sums { first: sum_dy, second: sum_dy_x } = gather(self.sums, statistic);
            let (_, inv_std) = self.normalizer.of(statistic);
            // SAFETY: the same.
            unsafe { self.to.dy.set(statistic, sum_dy) };
            // SAFETY: the same.
            unsafe { self.to.dy_xhat.set(statistic, sum_dy_x * inv_std) };
        }
    }
}
