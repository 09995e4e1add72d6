//! Errors in the statistics.

use core::sync::atomic::{AtomicUsize, Ordering};

use bn_core::{
    BatchNormBackend as _, ChannelMoments, Element, Error, HostMemory, Layout, Moments, Problem,
    Request as _,
};
use bn_naive::NaiveBackend;

use crate::backend::Wrong;
use crate::caught;

/// The variance that normalises with m − 1 in the denominator.
struct UnbiasedWhereBiasedIsDue;

impl Wrong for UnbiasedWhereBiasedIsDue {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        NaiveBackend.moments(Moments { problem, x, valid, mean, m2: &mut *m2 }.check()?)?;
        let m = problem.count() as f64;
        m2.iter_mut().for_each(|m2| *m2 *= m / (m - 1.0).max(1.0));
        Ok(())
    }
}

#[test]
fn unbiased_where_biased_is_due() {
    caught(UnbiasedWhereBiasedIsDue, &["exact/", "operation/", "reference/", "golden/"]);
}

/// The tensor read as if the channels lay elsewhere.
struct SwappedLayout;

impl Wrong for SwappedLayout {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let problem = request.problem;
        let (n, c, s) = (problem.batch(), problem.channels(), problem.spatial());
        let (dims, layout) = match problem.layout() {
            Layout::ChannelsFirst => ([n, s, c], Layout::ChannelsLast),
            Layout::ChannelsLast => ([n, c, s], Layout::ChannelsFirst),
        };
        let problem = Problem::new(&dims, layout)?.with_groups(problem.groups())?;
        // A mask belongs to the problem that it was checked against.
        NaiveBackend.moments(Moments { problem, valid: None, ..request }.check()?)
    }
}

#[test]
fn swapped_layout() {
    caught(
        SwappedLayout,
        &["exact/f32/channels-first", "exact/f32/channels-last", "reference/", "shape/"],
    );
}

/// Partial sums merged in the order in which threads happened to end.
#[derive(Default)]
struct NonDeterministicSum(AtomicUsize);

impl Wrong for NonDeterministicSum {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        const PARTS: usize = 5;
        let Moments { problem, x, valid, mean, m2 } = request;
        if valid.is_some() {
            return NaiveBackend.moments(Moments { problem, x, valid, mean, m2 }.check()?);
        }
        let first = self.0.fetch_add(1, Ordering::Relaxed);
        for (of, (mean, m2)) in mean.iter_mut().zip(m2).enumerate() {
            let mut parts = [const { Vec::new() }; PARTS];
            let (group, c) = (of / problem.channels(), of % problem.channels());
            for n in group * problem.group_batch()..(group + 1) * problem.group_batch() {
                for s in 0..problem.spatial() {
                    parts[(n + s) % PARTS].push(x[problem.offset(n, c, s)].to_f64());
                }
            }
            let parts = parts.map(|part| ChannelMoments::of(&part));
            let merged: ChannelMoments = (0..PARTS).map(|i| parts[(first + i) % PARTS]).sum();
            (*mean, *m2) = (merged.mean, merged.m2);
        }
        Ok(())
    }
}

#[test]
fn non_deterministic_sum() {
    caught(
        NonDeterministicSum::default(),
        &["property/f32/channels-first/every-run-gives-the-same-bits"],
    );
}

/// E\[x²\] − E\[x\]² in the element type, as several systems do.
struct OnePassVariance;

impl Wrong for OnePassVariance {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        NaiveBackend.moments(Moments { problem, x, valid, mean, m2: &mut *m2 }.check()?)?;
        for (of, m2) in m2.iter_mut().enumerate() {
            let (group, c) = (of / problem.channels(), of % problem.channels());
            let (mut count, mut sum, mut squares) = (0.0f32, 0.0f32, 0.0f32);
            for n in group * problem.group_batch()..(group + 1) * problem.group_batch() {
                for s in 0..problem.spatial() {
                    let is_out = |mask: &[u8]| mask[n * problem.spatial() + s] == 0;
                    if valid.is_some_and(|valid| is_out(valid.mask())) {
                        continue;
                    }
                    let x = x[problem.offset(n, c, s)].to_f64() as f32;
                    count += 1.0;
                    sum += x;
                    squares += x * x;
                }
            }
            *m2 = f64::from(squares - sum * (sum / count)).max(0.0);
        }
        Ok(())
    }
}

#[test]
fn one_pass_variance() {
    caught(
        OnePassVariance,
        &["channels-first/large-mean", "channels-last/large-mean", "channels-first/outlier-first"],
    );
}

/// A mean that was rounded to `f32` between the passes: right to seven digits, which is not enough.
struct MeanRoundedToF32;

impl Wrong for MeanRoundedToF32 {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        NaiveBackend.moments(Moments { problem, x, valid, mean: &mut *mean, m2 }.check()?)?;
        mean.iter_mut().for_each(|mean| *mean = f64::from(*mean as f32));
        Ok(())
    }
}

#[test]
fn mean_rounded_to_f32() {
    caught(MeanRoundedToF32, &["hostile/f32/channels-first/large-mean"]);
}

/// A NaN that spreads to its neighbours, as in a vector that is not reset.
struct SpreadingNan;

impl Wrong for SpreadingNan {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        NaiveBackend.moments(Moments { problem, x, valid, mean: &mut *mean, m2 }.check()?)?;
        if let Some(of) = mean.iter().position(|mean| mean.is_nan())
            && let Some(next) = mean.get_mut(of + 1)
        {
            *next = f64::NAN;
        }
        Ok(())
    }
}

#[test]
fn spreading_nan() {
    caught(
        SpreadingNan,
        &["channels-first/nan-stays-in-its-channel", "channels-last/nan-stays-in-its-channel"],
    );
}

/// Statistics of the whole batch where each group has its own.
struct GroupsAsOne;

impl Wrong for GroupsAsOne {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        let channels = problem.channels();
        let whole = problem.ungrouped();
        let (first_mean, first_m2) = (&mut mean[..channels], &mut m2[..channels]);
        let first = Moments { problem: whole, x, valid: None, mean: first_mean, m2: first_m2 };
        if valid.is_none() {
            NaiveBackend.moments(first.check()?)?;
            (1..problem.groups()).for_each(|group| {
                mean.copy_within(..channels, group * channels);
                m2.copy_within(..channels, group * channels);
            });
            return Ok(());
        }
        NaiveBackend.moments(Moments { problem, x, valid, mean, m2 }.check()?)
    }
}

#[test]
fn groups_as_one() {
    caught(GroupsAsOne, &["+groups2", "moments-of-groups", "groups-are-batches"]);
}

/// A mask that nobody looks at.
struct MaskIgnored;

impl Wrong for MaskIgnored {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.moments(Moments { valid: None, ..request }.check()?)
    }
}

#[test]
fn mask_ignored() {
    caught(MaskIgnored, &["+mask", "masked-positions-do-not-count"]);
}
