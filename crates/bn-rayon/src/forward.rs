//! Forward: moments, and the normalisation with them or with others.

use core::marker::PhantomData;
use core::ops::Range;

use bn_core::{Counts, Error, Layout, Problem};

use crate::channels_first::few::FewMoments;
use crate::channels_first::outputs::{Deviations, Normalized};
use crate::channels_first::short::{SumShort, is_short, run_step};
use crate::channels_first::strip::{Span, Step};
use crate::channels_first::sums::SumRows;
use crate::channels_last::Table;
use crate::engine::{Engine, Plan, Units};
use crate::references::{References, ValuesAt};
use crate::run::Finish;
use crate::settle::{Fold, Judge, Places, SettleForward};
use crate::shared::Shared;
use crate::simd::{Access, Real, Wide};
use crate::source::Affine;
use crate::statistics::{Precision, ROUNDS, Sums, Verdict, forward_coefficients};
use crate::tile::{Cut, Tile};
use crate::workspace::pieces;
use crate::{channels_first as first, channels_last as last};

/// What moments are taken of, and where they go: G·C values each.
pub(crate) struct TakeMoments<'a, T> {
    pub(crate) mask: Option<Shared<u8>>,
    pub(crate) counts: &'a Counts,
    pub(crate) mean: Shared<f64>,
    pub(crate) m2: Shared<f64>,
    pub(crate) x: Shared<T>,
}

/// What is normalised, and with what.
pub(crate) struct Apply<'a, T> {
    pub(crate) io: (Shared<T>, Shared<T>),
    pub(crate) finish: Finish<T>,
    pub(crate) of: &'a Affine<'a>,
    /// Where inv_std is wanted.
    pub(crate) inv_std: Option<Shared<f64>>,
}

/// Moments in the making, and their scratch: shifts as lanes and as `f64`, sums of all parts.
struct Taking<'a, T, R> {
    moments: &'a TakeMoments<'a, T>,
    shift: Shared<R>,
    exact: Shared<f64>,
    sums: [Shared<f64>; 2],
}

/// Takes moments, normalises, or both in one sweep.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub(crate) fn forward<A: Access>(
    engine: &Engine,
    problem: Problem,
    moments: Option<&TakeMoments<'_, A::Stored>>,
    apply: Option<&Apply<'_, A::Stored>>,
) -> Result<(), Error> {
    let cut = Cut::new(problem);
    let (statistics, size) = (problem.statistics(), size_of::<A::Stored>());
    let plan = engine.plan(cut, size, 2, moments.is_some() && apply.is_some());
    let all = cut.parts * statistics;
    let padded = last::padded(&problem);
    let len = if moments.is_some() { 2 * (statistics + all) } else { 0 } + statistics + 3 * padded;
    engine.spaces.lend(len, |space| {
        let (table, space) = pieces::<3>(space, padded);
        let ([marks], space) = pieces::<1>(space, statistics);
        let to = Places { lanes: table.map(lanes::<A::Scalar>), marks: Shared::writing(marks) };
        let taking = moments.map(|moments| {
            let ([shift, exact], space) = pieces::<2>(space, statistics);
            let ([one, two], _) = pieces::<2>(space, all);
            let (shift, exact) = (lanes::<A::Scalar>(shift), Shared::writing(exact));
            Taking { moments, shift, exact, sums: [one, two].map(Shared::writing) }
        });
        let stream = engine.streams(problem.elements(), size);
        match problem.layout() {
            Layout::ChannelsFirst => {
                let work = First::<A> { engine, plan: &plan, taking, apply, to, stream };
                engine.by_units(&plan, &work);
            }
            Layout::ChannelsLast => {
                if let Some(taking) = &taking {
                    for group in 0..problem.groups() {
                        let all = Tile { group, channels: 0..problem.channels(), part: 0 };
                        taking.begin::<A>(engine, &cut, &all);
                    }
                    engine.by_parts(&plan, false, &|tile| taking.sum::<A>(engine, &cut, tile));
                    taking.settle::<A>(engine, &plan, 0, 0..problem.channels());
                }
                let Some(apply) = apply else { return };
                let (of, inv_std) = (apply.of, apply.inv_std);
                let table = Table::new(
                    &problem,
                    to,
                    |tile, to| engine.run(SettleForward { cut: &cut, tile, of, inv_std, to }),
                    |statistic| apply.coefficients::<A::Scalar>(statistic).0,
                );
                let write = |tile| write_last::<A>(engine, &cut, apply, &table, stream, tile);
                engine.by_parts(&plan, true, &write);
            }
        }
    })
}

impl<T> Apply<'_, T> {
    fn coefficients<R: Real>(&self, statistic: usize) -> ([f64; 3], bool) {
        // SAFETY: asked for only where the moments of the statistic are there.
        let [mean, inv_std, gamma, beta] = unsafe { self.of.get(statistic) };
        forward_coefficients::<R>(mean, inv_std, gamma, beta)
    }
}

/// Fewer values than this are summed in `f64` from the start: their rounding errors are too few to
/// cancel.
const SHORT: u64 = 1536;

/// How the sums of a problem are taken first.
fn precision<A: Access>(problem: &Problem) -> Precision {
    if size_of::<A::Scalar>() == 8 || problem.count() < SHORT {
        Precision::Double
    } else {
        Precision::Single
    }
}

/// Channels-first, both directions of which are units.
struct First<'a, A: Access> {
    engine: &'a Engine,
    plan: &'a Plan,
    taking: Option<Taking<'a, A::Stored, A::Scalar>>,
    apply: Option<&'a Apply<'a, A::Stored>>,
    to: Places<A::Scalar, 3>,
    stream: bool,
}

impl<A: Access> Units for First<'_, A> {
    fn sums(&self) -> bool {
        self.taking.is_some()
    }

    fn writes(&self) -> bool {
        self.apply.is_some()
    }

    fn begin(&self, channels: &Tile) {
        let cut = &self.plan.cut;
        match &self.taking {
            Some(taking) if taking.moments.mask.is_some() => {
                taking.begin::<A>(self.engine, cut, channels);
            }
            Some(taking) if !taking.are_few(cut) => {
                let (x, shift, exact) = (taking.moments.x, taking.shift, taking.exact);
                self.engine.run(References::<A> { cut, tile: channels.clone(), x, shift, exact });
            }
            _ => {}
        }
    }

    fn step(&self, sum: Option<Span>, write: Option<Span>) {
        let (engine, cut) = (self.engine, &self.plan.cut);
        let mut sum = self.taking.as_ref().zip(sum);
        if let Some((taking, _)) = &sum
            && taking.are_few(cut)
        {
            // Taken when they are settled.
            sum = None;
        } else if let Some((taking, span)) = &sum
            && taking.moments.mask.is_some()
        {
            for part in cut.part_of(span.strips.start)..=cut.part_of(span.strips.end - 1) {
                taking.sum::<A>(engine, cut, Tile { part, ..span.tile.clone() });
            }
            sum = None;
        } else if let Some((taking, span)) = &sum
            && is_short(cut)
        {
            for part in cut.part_of(span.strips.start)..=cut.part_of(span.strips.end - 1) {
                let tile = Tile { part, ..span.tile.clone() };
                let (x, shift, sums) = (taking.moments.x, taking.shift, taking.sums);
                let hint = engine.tuning.hint;
                engine.run(SumShort::<A> { cut, tile, x, dy: None, shift, sums, hint });
            }
            sum = None;
        }
        let mut write = self.apply.zip(write);
        if let Some((apply, span)) = &write
            // SAFETY: a unit is settled before it is written.
            && unsafe { self.to.any_wide(self.plan.cut.statistics(&span.tile)) }
        {
            for part in cut.part_of(span.strips.start)..=cut.part_of(span.strips.end - 1) {
                engine.run_seldom(first::Normalize::<A, _> {
                    cut,
                    tile: Tile { part, ..span.tile.clone() },
                    io: apply.io,
                    finish: apply.finish,
                    coefficients: &|statistic| apply.coefficients::<A::Scalar>(statistic),
                });
            }
            write = None;
        }
        let sum = sum.map(|(taking, span)| SumRows::<A, _> {
            cut,
            span,
            sum: Deviations { x: taking.moments.x, shift: taking.shift },
            to: taking.sums,
            walk: self.plan.walk(),
            next: self.plan.next,
            access: PhantomData,
        });
        let Some((apply, span)) = write else {
            return sum.into_iter().for_each(|sum| engine.run(sum));
        };
        macro_rules! run {
            ($finish:literal, $stream:literal) => {{
                let (io, finish) = (apply.io, apply.finish);
                let output = Normalized::<_, $finish> { io, finish };
                run_step(
                    engine,
                    Step::<A, _, _, 3, $stream> {
                        cut,
                        sum,
                        write: (span, output),
                        table: self.to.lanes,
                        ahead: self.plan.ahead_of_writes(self.taking.is_some()),
                        walk: self.plan.walk(),
                        forwards: self.taking.is_none(),
                    },
                )
            }};
        }
        match (apply.finish.is_some(), self.stream) {
            (false, false) => run!(false, false),
            (false, true) => run!(false, true),
            (true, false) => run!(true, false),
            (true, true) => run!(true, true),
        }
    }

    fn settle(&self, unit: &Tile) {
        if let Some(taking) = &self.taking {
            taking.settle::<A>(self.engine, self.plan, unit.group, unit.channels.clone());
        }
        let Some(apply) = self.apply else { return };
        let (cut, tile) = (&self.plan.cut, unit.clone());
        let (of, inv_std, to) = (apply.of, apply.inv_std, self.to);
        self.engine.run(SettleForward { cut, tile, of, inv_std, to });
    }
}

/// A piece of the workspace as lanes.
pub(crate) fn lanes<R: Real + bn_core::Scalar>(piece: &mut [f64]) -> Shared<R> {
    Shared::writing(bytemuck::cast_slice_mut(piece))
}

impl<T: bn_core::Element, R: Real> Taking<'_, T, R> {
    /// Chooses what deviations of some channels of a group are taken from: a value of each, at the first position
    /// that counts, or in the middle of a sample where all do.
    fn begin<A: Access<Stored = T, Scalar = R>>(&self, engine: &Engine, cut: &Cut, tile: &Tile) {
        let problem = &cut.problem;
        let positions = problem.group_batch() * problem.spatial();
        let first = tile.group * positions;
        let among = match self.moments.mask {
            None => problem.spatial() / 2,
            Some(mask) => (0..positions)
                // SAFETY: the positions of the group.
                .find(|&at| unsafe { mask.get(first + at) } != 0)
                .unwrap_or(0),
        };
        let (position, tile) = (first + among, tile.clone());
        let (x, shift, exact) = (self.moments.x, self.shift, self.exact);
        engine.run(ValuesAt::<A> { cut, tile, position, x, shift, exact });
    }

    /// Sums a tile as precisely as the problem asks for.
    fn sum<A: Access<Stored = T, Scalar = R>>(&self, engine: &Engine, cut: &Cut, tile: Tile) {
        if self.is_exact::<A>(&cut.problem) {
            return self.sum_exactly(engine, cut, tile);
        }
        let (x, mask, shift, sums) = (self.moments.x, self.moments.mask, self.shift, self.sums);
        match cut.problem.layout() {
            Layout::ChannelsFirst => {
                engine.run(first::SumDeviations::<A> { cut, tile, x, mask, shift, sums });
            }
            Layout::ChannelsLast => {
                engine.run(last::SumDeviations::<A> { cut, tile, x, mask, shift, sums });
            }
        }
    }

    /// Whether the values of a channel are so few that its moments are taken in one go.
    fn are_few(&self, cut: &Cut) -> bool {
        let problem = &cut.problem;
        let first = problem.layout() == Layout::ChannelsFirst;
        first && self.moments.mask.is_none() && problem.count() < SHORT
    }

    /// Whether the sums are taken in `f64` though the lanes are not.
    fn is_exact<A: Access<Stored = T, Scalar = R>>(&self, problem: &Problem) -> bool {
        size_of::<R>() == 4 && precision::<A>(problem) == Precision::Double
    }

    /// Sums a tile in `f64`.
    fn sum_exactly(&self, engine: &Engine, cut: &Cut, tile: Tile) {
        let (x, mask, shift, sums) = (self.moments.x, self.moments.mask, self.exact, self.sums);
        match cut.problem.layout() {
            Layout::ChannelsFirst => {
                engine.run(first::SumDeviations::<Wide<T>> { cut, tile, x, mask, shift, sums });
            }
            Layout::ChannelsLast => {
                engine.run(last::SumDeviations::<Wide<T>> { cut, tile, x, mask, shift, sums });
            }
        }
    }
}

/// The sums of a statistic over its parts, once they are folded.
pub(crate) fn gather(sums: [Shared<f64>; 2], statistic: usize) -> Sums {
    // SAFETY: only the call that settles a statistic asks for its sums.
    let [first, second] = sums.map(|sums| unsafe { sums.get(statistic) });
    Sums { first, second }
}

impl<T: bn_core::Element, R: Real> Taking<'_, T, R> {
    /// Judges the sums of some channels of a group (channels-first) or of all (channels-last), and takes
    /// again in `f64` those that do not hold.
    fn settle<A: Access<Stored = T, Scalar = R>>(
        &self,
        engine: &Engine,
        plan: &Plan,
        group: usize,
        channels: Range<usize>,
    ) {
        let problem = plan.cut.problem;
        let (mean, m2) = (self.moments.mean, self.moments.m2);
        if self.are_few(&plan.cut) {
            let (cut, tile) = (&plan.cut, Tile { group, channels, part: 0 });
            return engine.run(FewMoments::<A> { cut, tile, x: self.moments.x, mean, m2 });
        }
        let groups = match problem.layout() {
            Layout::ChannelsFirst => group..group + 1,
            Layout::ChannelsLast => 0..problem.groups(),
        };
        for group in groups {
            let tile = Tile { group, channels: channels.clone(), part: 0 };
            let statistics = plan.cut.statistics(&tile);
            let (cut, sums) = (&plan.cut, self.sums);
            engine.run(Fold { cut, sums, statistics: statistics.clone() });
            let (shift, precision) = (self.exact, precision::<A>(&problem));
            let count = self.moments.counts.of(group) as f64;
            let mut any_left = false;
            let any = &mut any_left;
            engine.run(Judge { statistics, sums, shift, count, precision, mean, m2, any });
            if any_left {
                self.settle_rest(engine, plan, group, channels.clone(), precision);
            }
        }
    }

    /// Takes again in `f64` the sums of those channels that are not done.
    #[cold]
    fn settle_rest(
        &self,
        engine: &Engine,
        plan: &Plan,
        group: usize,
        channels: Range<usize>,
        mut precision: Precision,
    ) {
        let problem = plan.cut.problem;
        let count = self.moments.counts.of(group) as f64;
        let first = group * problem.channels();
        let mut range = channels;
        for round in 0..ROUNDS {
            let mut again: Option<Range<usize>> = None;
            for c in range {
                let statistic = first + c;
                // SAFETY: this channel is this call's, here and below; NaN marks one that is done.
                let shift = unsafe { self.exact.get(statistic) };
                if shift.is_nan() {
                    continue;
                }
                let sums = gather(self.sums, statistic);
                let next = match sums.judge(count, shift, precision, round) {
                    Verdict::Good(mean, m2) => {
                        // SAFETY: the same.
                        unsafe { self.moments.mean.set(statistic, mean) };
                        // SAFETY: the same.
                        unsafe { self.moments.m2.set(statistic, m2) };
                        f64::NAN
                    }
                    Verdict::Again(shift) => {
                        let start = again.as_ref().map_or(c, |again| again.start);
                        again = Some(start..c + 1);
                        shift
                    }
                };
                // SAFETY: the same.
                unsafe { self.exact.set(statistic, next) };
            }
            let Some(left) = again else { return };
            let tile = |part| Tile { group, channels: left.clone(), part };
            let work = |part| self.sum_exactly(engine, &plan.cut, tile(part));
            match problem.layout() {
                // Already one of many units at once.
                Layout::ChannelsFirst => (0..plan.cut.parts).for_each(work),
                Layout::ChannelsLast => engine.team.each(plan.workers, plan.cut.parts, work),
            }
            let statistics = first + left.start..first + left.end;
            engine.run(Fold { cut: &plan.cut, sums: self.sums, statistics });
            precision = Precision::Double;
            range = left;
        }
    }
}

fn write_last<A: Access>(
    engine: &Engine,
    cut: &Cut,
    apply: &Apply<'_, A::Stored>,
    table: &Table<A::Scalar, 3>,
    stream: bool,
    tile: Tile,
) {
    let (io, finish, abreast) = (apply.io, apply.finish, engine.tuning.abreast.is_some());
    macro_rules! normalize {
        ($finish:literal, $stream:literal) => {
            last::Normalize::<A, $finish, $stream> { cut, tile, io, finish, table, abreast }
        };
    }
    if table.has_wide(tile.group, cut.problem.channels()) {
        return engine.run_seldom(last::RowByRow(normalize!(true, false)));
    }
    match (finish.is_some(), stream) {
        (false, false) => engine.run(normalize!(false, false)),
        (false, true) => engine.run(normalize!(false, true)),
        (true, false) => engine.run(normalize!(true, false)),
        (true, true) => engine.run(normalize!(true, true)),
    }
}
