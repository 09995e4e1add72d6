//! Forward: moments, and the normalisation with them or with others.

use core::ops::Range;

use bn_core::{Counts, Error, Layout, Problem};

use crate::channels_last::Table;
use crate::engine::{Engine, Plan};
use crate::run::Finish;
use crate::shared::Shared;
use crate::simd::{Access, Real, Wide};
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

/// What is normalised, with which (mean, inv_std, gamma, beta) of a statistic.
pub(crate) struct Apply<'a, T, C> {
    pub(crate) io: (Shared<T>, Shared<T>),
    pub(crate) finish: Finish<T>,
    pub(crate) of: &'a C,
}

/// The scratch of moments: shifts as lanes and as `f64`, sums of all parts.
struct Scratch<R> {
    shift: Shared<R>,
    exact: Shared<f64>,
    sums: [Shared<f64>; 2],
}

/// Takes moments, normalises, or both in one sweep. `of` is asked for a statistic only after its
/// moments are there.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub(crate) fn forward<A: Access>(
    engine: &Engine,
    problem: Problem,
    moments: Option<&TakeMoments<'_, A::Stored>>,
    apply: Option<&Apply<'_, A::Stored, impl Fn(usize) -> [f64; 4] + Sync>>,
) -> Result<(), Error> {
    let cut = Cut::new(problem);
    let (statistics, size) = (problem.statistics(), size_of::<A::Stored>());
    let plan = engine.plan(cut, size, 2);
    let all = cut.parts * statistics;
    let len = if moments.is_some() { 2 * (statistics + all) } else { 0 } + 4 * statistics;
    engine.spaces.lend(len, |space| {
        let ([high, low, scale, beta], space) = pieces::<4>(space, statistics);
        let lanes = [high, low, scale, beta].map(|piece| lanes::<A::Scalar>(piece));
        let scratch = moments.map(|_| {
            let ([shift, exact], space) = pieces::<2>(space, statistics);
            let ([one, two], _) = pieces::<2>(space, all);
            let (shift, exact) = (self::lanes::<A::Scalar>(shift), Shared::writing(exact));
            Scratch { shift, exact, sums: [one, two].map(Shared::writing) }
        });
        let taking = moments.zip(scratch.as_ref());
        if let Some((moments, scratch)) = taking {
            for statistic in 0..statistics {
                let shift = first::reference(&cut, moments.x, moments.mask, statistic);
                // SAFETY: a place of the scratch, before any thread reads it.
                unsafe { scratch.shift.set(statistic, A::Scalar::of(shift)) };
                // SAFETY: the same.
                unsafe { scratch.exact.set(statistic, shift) };
            }
        }
        let sum = taking.map(|(moments, scratch)| {
            let Scratch { shift, exact, sums } = *scratch;
            move |tile| {
                if precision::<A>(&problem) == Precision::Single {
                    sum::<A>(engine, &cut, moments, shift, sums, tile);
                } else {
                    sum::<Wide<A::Stored>>(engine, &cut, moments, exact, sums, tile);
                }
            }
        });
        let settle = |group: usize, channels: Range<usize>| {
            let Some((moments, scratch)) = taking else { return };
            settle::<A>(engine, &plan, moments, scratch, group, channels);
        };
        match problem.layout() {
            Layout::ChannelsFirst => {
                let write =
                    apply.map(|apply| move |tile| write_first::<A>(engine, &cut, apply, tile));
                engine.sweep(&plan, sum.as_ref(), &settle, write.as_ref());
            }
            Layout::ChannelsLast => {
                engine.sweep(&plan, sum.as_ref(), &settle, None::<&fn(Tile)>);
                let Some(apply) = apply else { return };
                let wide = tabulate(statistics, lanes, |statistic| {
                    let [mean, inv_std, gamma, beta] = (apply.of)(statistic);
                    forward_coefficients(mean, inv_std, gamma, beta)
                });
                let table = Table { lanes, wide: &wide };
                let write = |tile| write_last::<A, _>(engine, &cut, apply, &table, tile);
                engine.sweep(&plan, None::<&fn(Tile)>, &settle, Some(&write));
            }
        }
    })
}

/// Fewer values than this are summed in `f64` from the start: their rounding errors are too few to
/// cancel.
const SHORT: u64 = 4096;

/// How the sums of a problem are taken first.
fn precision<A: Access>(problem: &Problem) -> Precision {
    if size_of::<A::Scalar>() == 8 || problem.count() < SHORT {
        Precision::Double
    } else {
        Precision::Single
    }
}

/// A piece of the workspace as lanes.
pub(crate) fn lanes<R: Real>(piece: &mut [f64]) -> Shared<R>
where
    R: bn_core::Scalar,
{
    Shared::writing(bytemuck::cast_slice_mut(piece))
}

/// Writes the coefficients of all statistics as lanes, and returns those that need `f64`.
pub(crate) fn tabulate<R: Real + bn_core::Scalar, const N: usize>(
    statistics: usize,
    lanes: [Shared<R>; N],
    of: impl Fn(usize) -> ([f64; N], bool),
) -> Vec<(usize, [f64; N])> {
    let mut wide = Vec::new();
    for statistic in 0..statistics {
        let (exact, narrow) = of(statistic);
        for (lanes, exact) in lanes.iter().zip(exact) {
            // Zeros do no harm where the value is replaced.
            let value = R::of(if narrow || size_of::<R>() == 8 { exact } else { 0.0 });
            // SAFETY: a place of the scratch, before any thread reads it.
            unsafe { lanes.set(statistic, value) };
        }
        if !narrow && size_of::<R>() < 8 {
            wide.push((statistic, exact));
        }
    }
    wide
}

fn sum<A: Access>(
    engine: &Engine,
    cut: &Cut,
    moments: &TakeMoments<'_, A::Stored>,
    shift: Shared<A::Scalar>,
    sums: [Shared<f64>; 2],
    tile: Tile,
) {
    let (x, mask) = (moments.x, moments.mask);
    match cut.problem.layout() {
        Layout::ChannelsFirst => {
            engine.run(first::SumDeviations::<A> { cut, tile, x, mask, shift, sums });
        }
        Layout::ChannelsLast => {
            engine.run(last::SumDeviations::<A> { cut, tile, x, mask, shift, sums });
        }
    }
}

/// The sums of a statistic over its parts, in order.
pub(crate) fn gather(cut: &Cut, sums: [Shared<f64>; 2], statistic: usize) -> Sums {
    let statistics = cut.problem.statistics();
    let add = |sums: Shared<f64>| {
        // SAFETY: the sums of all parts have been written, by tiles that are done.
        (0..cut.parts).map(|part| unsafe { sums.get(part * statistics + statistic) }).sum()
    };
    Sums { first: add(sums[0]), second: add(sums[1]) }
}

/// Judges the sums of some channels of a group (channels-first) or of all (channels-last), and takes
/// again in `f64` those that do not hold.
fn settle<A: Access>(
    engine: &Engine,
    plan: &Plan,
    moments: &TakeMoments<'_, A::Stored>,
    scratch: &Scratch<A::Scalar>,
    group: usize,
    channels: Range<usize>,
) {
    let problem = plan.cut.problem;
    let groups = match problem.layout() {
        Layout::ChannelsFirst => group..group + 1,
        Layout::ChannelsLast => 0..problem.groups(),
    };
    for group in groups {
        let mut todo = Some(channels.clone());
        for round in 0..ROUNDS {
            let Some(range) = todo.take() else { break };
            let precision = if round == 0 { precision::<A>(&problem) } else { Precision::Double };
            let count = moments.counts.of(group) as f64;
            let mut again: Option<Range<usize>> = None;
            for c in range {
                let statistic = group * problem.channels() + c;
                // SAFETY: this channel is this call's; NaN marks one that is done.
                let shift = unsafe { scratch.exact.get(statistic) };
                if round > 0 && shift.is_nan() {
                    continue;
                }
                let sums = gather(&plan.cut, scratch.sums, statistic);
                let next = match sums.judge(count, shift, precision, round) {
                    Verdict::Good(mean, m2) => {
                        // SAFETY: this channel is this call's.
                        unsafe { moments.mean.set(statistic, mean) };
                        // SAFETY: the same.
                        unsafe { moments.m2.set(statistic, m2) };
                        f64::NAN
                    }
                    Verdict::Again(shift) => {
                        let start = again.as_ref().map_or(c, |again| again.start);
                        again = Some(start..c + 1);
                        shift
                    }
                };
                // SAFETY: the same.
                unsafe { scratch.exact.set(statistic, next) };
            }
            let Some(range) = again else { break };
            let tile = |part| Tile { group, channels: range.clone(), part };
            let work = |part| {
                let shift = scratch.exact;
                let (x, mask) = (moments.x, moments.mask);
                let (counts, mean, m2) = (moments.counts, moments.mean, moments.m2);
                let moments = TakeMoments { mask, counts, mean, m2, x };
                let sums = scratch.sums;
                sum::<Wide<A::Stored>>(engine, &plan.cut, &moments, shift, sums, tile(part));
            };
            match problem.layout() {
                // Already one of many units at once.
                Layout::ChannelsFirst => (0..plan.cut.parts).for_each(work),
                Layout::ChannelsLast => engine.team.each(plan.workers, plan.cut.parts, work),
            }
            todo = Some(range);
        }
    }
}

fn write_first<A: Access>(
    engine: &Engine,
    cut: &Cut,
    apply: &Apply<'_, A::Stored, impl Fn(usize) -> [f64; 4] + Sync>,
    tile: Tile,
) {
    let coefficients = &|statistic| {
        let [mean, inv_std, gamma, beta] = (apply.of)(statistic);
        forward_coefficients(mean, inv_std, gamma, beta)
    };
    let (io, finish) = (apply.io, apply.finish);
    let stream = engine.streams(cut.problem.elements(), size_of::<A::Stored>());
    macro_rules! run {
        ($finish:literal, $stream:literal) => {
            engine.run(first::Normalize::<A, _, $finish, $stream> {
                cut,
                tile,
                io,
                finish,
                coefficients,
            })
        };
    }
    match (finish.is_some(), stream) {
        (false, false) => run!(false, false),
        (false, true) => run!(false, true),
        (true, false) => run!(true, false),
        (true, true) => run!(true, true),
    }
}

fn write_last<A: Access, C>(
    engine: &Engine,
    cut: &Cut,
    apply: &Apply<'_, A::Stored, C>,
    table: &Table<'_, A::Scalar, 4>,
    tile: Tile,
) {
    let (io, finish) = (apply.io, apply.finish);
    let stream = engine.streams(cut.problem.elements(), size_of::<A::Stored>());
    macro_rules! run {
        ($finish:literal, $stream:literal) => {
            engine.run(last::Normalize::<A, $finish, $stream> { cut, tile, io, finish, table })
        };
    }
    match (finish.is_some(), stream) {
        (false, false) => run!(false, false),
        (false, true) => run!(false, true),
        (true, false) => run!(true, false),
        (true, true) => run!(true, true),
    }
}
