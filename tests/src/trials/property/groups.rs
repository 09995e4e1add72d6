//! Properties of groups of the batch.

use bn_core::{Element, Layout};

use crate::call::{How, Operations, TrainingCall};
use crate::compare::{Expected, Verdict};
use crate::data::{Case, wide};
use crate::expect::{Affine, ExpectedStatistics, expected_running, expected_y};
use crate::reference::Moments;
use crate::trials::problem;
use crate::trials::round_trip::update;

const SHAPE: [usize; 4] = [6, 7, 3, 5];
const GROUPS: usize = 3;

/// Each group is normalised as if it were a batch of its own.
pub(super) fn groups_are_batches<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let grouped = problem(&SHAPE, layout).with_groups(GROUPS).expect("a divisor of the batch");
    let case = Case::<T>::new(grouped, "groups");
    let whole = operations.training(&TrainingCall::new(grouped, &case.x), How::default())?;
    let whole = whole.written()?;
    let (values, channels) = (case.x.len() / GROUPS, grouped.channels());
    for group in 0..GROUPS {
        let alone = problem(&[SHAPE[0] / GROUPS, SHAPE[1], SHAPE[2], SHAPE[3]], layout);
        let x = &case.x[group * values..][..values];
        let found = operations.training(&TrainingCall::new(alone, x), How::default())?;
        let found = found.written()?;
        let moments = Moments::of(&alone, &wide(x), None);
        let statistics = ExpectedStatistics::of_batch(&moments, case.eps, T::DTYPE);
        let of = |values: &[f64]| values[group * channels..][..channels].to_vec();
        let named = |name: &str| format!("{name} of group {group}");
        let mean = statistics.mean().around(of(&whole.mean));
        mean.meets(&named("save_mean"), &found.mean)?;
        let inv_std = statistics.inv_std().around(of(&whole.inv_std));
        inv_std.meets(&named("save_inv_std"), &found.inv_std)?;
        let y = expected_y(&alone, T::DTYPE, &statistics, &wide(x), Affine::default());
        let twice = y.slack.iter().zip(&y.values);
        let twice = twice.map(|(s, &y)| 2.0 * s + crate::tolerance::half_ulp(T::DTYPE, y));
        let values = wide(&whole.y[group * values..][..values]);
        Expected { slack: twice.collect(), values }.meets(&named("y"), &found.y)?;
    }
    Ok(())
}

/// What enters the running statistics is the variance of all values, not the mean of the groups'.
pub(super) fn groups_update_as_one<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let grouped = problem(&SHAPE, layout).with_groups(GROUPS).expect("a divisor of the batch");
    let mut case = Case::<T>::new(grouped, "groups");
    // Groups far apart: the variance between them is most of the whole.
    let values = case.x.len() / GROUPS;
    for (index, x) in case.x.iter_mut().enumerate() {
        *x = T::from_f64(x.to_f64() + 8.0 * (index / values) as f64);
    }
    let update = update(&case);
    let call = TrainingCall { update: Some(update), ..TrainingCall::new(grouped, &case.x) };
    let found = operations.training(&call, How::default())?.written()?;
    let running = found.running.ok_or("running statistics are gone")?;
    let (mean, var) = expected_running::<T>(&grouped, &wide(&case.x), None, &update);
    mean.meets("running_mean", &running.mean)?;
    var.meets("running_var", &running.var)
}
