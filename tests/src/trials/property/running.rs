//! Properties of running statistics: every convention, step by step.

use bn_core::{
    ChannelMoments, Counts, Element, Feature, Layout, Momentum, Problem, RunningVariance, Seen,
    moments_of,
};

use crate::call::{
    Fixed, How, InferenceCall, MomentsCall, Operations, Running, Tail, TrainingCall, Update,
};
use crate::compare::{Verdict, ensure};
use crate::data::{Case, narrow, wide};
use crate::expect::{Affine, ExpectedStatistics, expected_running, expected_y};
use crate::trial::Plan;
use crate::trials::{place, problem};

const SHAPE: [usize; 4] = [3, 5, 2, 4];

const MOMENTA: [(&str, Momentum); 8] = [
    ("new-0.1", Momentum::New(0.1)),
    ("new-0", Momentum::New(0.0)),
    ("new-1", Momentum::New(1.0)),
    ("old-0.9", Momentum::Old(0.9)),
    ("old-0", Momentum::Old(0.0)),
    ("cumulative", Momentum::Cumulative),
    ("caffe-0.999", Momentum::CaffeSum(0.999)),
    ("caffe-1", Momentum::CaffeSum(1.0)),
];

/// A trial for each convention and each variance.
pub(super) fn conventions<T: Element>(plan: &mut Plan<T>, layout: Layout) {
    for (momentum_name, momentum) in MOMENTA {
        for (variance_name, variance) in
            [("biased", RunningVariance::Biased), ("unbiased", RunningVariance::Unbiased)]
        {
            let name = format!(
                "property/{}/running-update/{momentum_name}/{variance_name}",
                place::<T>(layout)
            );
            plan.add(name, [Feature::from(layout)], move |operations| {
                three_steps(operations, problem(&SHAPE, layout), momentum, variance)
            });
        }
    }
}

/// Three batches from a fresh start, each judged from where the one before left off.
fn three_steps<T: Element>(
    operations: &dyn Operations<T>,
    problem: Problem,
    momentum: Momentum,
    variance: RunningVariance,
) -> Verdict {
    let fresh = |value| vec![T::Param::from_f64(value); problem.channels()];
    let mut before = Running { mean: fresh(0.0), var: fresh(1.0), seen: Seen::default() };
    for step in ["first", "second", "third"] {
        let case = Case::<T>::new(problem, step);
        let update = Update { before: &before, momentum, variance };
        let call = TrainingCall { update: Some(update), ..TrainingCall::new(problem, &case.x) };
        let found = operations.training(&call, How::default())?.written()?;
        let running = found.running.ok_or("running statistics are gone")?;
        let (mean, var) = expected_running::<T>(&problem, &wide(&case.x), None, &update);
        mean.meets(&format!("running_mean after the {step} batch"), &running.mean)?;
        var.meets(&format!("running_var after the {step} batch"), &running.var)?;
        let seen = seen_after::<T>(before.seen, momentum);
        ensure(running.seen == seen, || {
            format!("seen after the {step} batch is {:?}; expected {seen:?}", running.seen)
        })?;
        before = running;
    }
    Ok(())
}

/// Caffe's factor in the parameter type: the product rounded, then the sum.
fn seen_after<T: Element>(seen: Seen, momentum: Momentum) -> Seen {
    let round = |value: f64| T::Param::from_f64(value).to_f64();
    let factor = match momentum {
        Momentum::CaffeSum(fraction) => round(round(round(fraction) * seen.factor) + 1.0),
        _ => seen.factor,
    };
    Seen { batches: seen.batches + 1, factor }
}

/// Moments absorbed by themselves enter as training lets them enter.
pub(super) fn recalibration<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "running");
    let problem = case.problem;
    let call = MomentsCall { problem, x: &case.x, mask: None };
    let moments = operations.moments(&call, How::default())?.written()?;
    let moments: Vec<ChannelMoments> =
        moments_of(&problem, &Counts::from(&problem), &moments.mean, &moments.m2);
    for (name, momentum) in MOMENTA {
        let variance = RunningVariance::Unbiased;
        let update = Update { before: &case.running, momentum, variance };
        let found = operations.absorb(&moments, update, How::default())?.written()?;
        let (mean, var) = expected_running::<T>(&problem, &wide(&case.x), None, &update);
        mean.meets(&format!("running_mean, {name}"), &found.mean)?;
        var.meets(&format!("running_var, {name}"), &found.var)?;
        let seen = seen_after::<T>(case.running.seen, momentum);
        ensure(found.seen == seen, || format!("seen is {:?}; expected {seen:?}", found.seen))?;
    }
    let variance = RunningVariance::Unbiased;
    let update = Update { before: &case.running, momentum: Momentum::Cumulative, variance };
    operations.absorb(&moments[1..], update, How::default())?.refused().map(|_| ())
}

/// Training without running statistics leaves none behind, and gives the same y.
pub(super) fn left_alone<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "running");
    let momentum = Momentum::New(0.5);
    let update = Update { before: &case.running, momentum, variance: RunningVariance::Biased };
    let run = |update| {
        let call = TrainingCall { update, ..TrainingCall::new(case.problem, &case.x) };
        operations.training(&call, How::default())?.written()
    };
    let (with, mut without) = (run(Some(update))?, run(None)?);
    ensure(without.running.is_none(), || "running statistics out of nowhere".into())?;
    without.running.clone_from(&with.running);
    crate::trials::round_trip::same_forward(&without, &with)
}

/// Where the old value has no weight it does not matter, not even where it is NaN.
pub(super) fn nothing_kept_of_nan<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "running");
    let nan = vec![T::Param::from_f64(f64::NAN); case.problem.channels()];
    let before = Running { mean: nan.clone(), var: nan, seen: Seen::default() };
    let zeros = vec![T::Param::default(); case.problem.channels()];
    let clean = Running { mean: zeros.clone(), var: zeros, seen: Seen::default() };
    for momentum in [Momentum::New(1.0), Momentum::Old(0.0), Momentum::Cumulative] {
        let variance = RunningVariance::Unbiased;
        let update = Update { before: &before, momentum, variance };
        let call =
            TrainingCall { update: Some(update), ..TrainingCall::new(case.problem, &case.x) };
        let found = operations.training(&call, How::default())?.written()?;
        let running = found.running.ok_or("running statistics are gone")?;
        let update = Update { before: &clean, ..update };
        let (mean, var) = expected_running::<T>(&case.problem, &wide(&case.x), None, &update);
        mean.meets(&format!("running_mean, {momentum}"), &running.mean)?;
        var.meets(&format!("running_var, {momentum}"), &running.var)?;
    }
    Ok(())
}

/// Caffe's sums normalise as the statistics that they are sums of; a factor of 0 makes them 0.
pub(super) fn caffe_sum_and_factor<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "running");
    let problem = case.problem;
    for factor in [9.5, 0.0] {
        let seen = Seen { batches: 10, factor };
        let scale = seen.scale(&Momentum::CaffeSum(0.9));
        let sums = |values: &[T::Param]| -> Vec<T::Param> {
            narrow(&wide(values).iter().map(|value| 9.5 * value).collect::<Vec<f64>>())
        };
        let (mean, var) = (sums(&case.running.mean), sums(&case.running.var));
        let fixed = Fixed::Running { mean: &mean, var: &var, scale, eps: case.eps };
        let (gamma, beta, tail) = (None, None, Tail::None);
        let call = InferenceCall { problem, x: &case.x, fixed, gamma, beta, tail };
        let found = operations.inference(&call, How::default())?.written()?;
        let right = if factor == 0.0 { 0.0 } else { 1.0 / factor };
        let statistics = ExpectedStatistics::running(&wide(&mean), &wide(&var), right, case.eps);
        statistics.mean().meets("save_mean", &found.mean)?;
        statistics.inv_std().meets("save_inv_std", &found.inv_std)?;
        let y = expected_y(&problem, T::DTYPE, &statistics, &wide(&case.x), Affine::default());
        y.meets("y", &found.y)?;
    }
    Ok(())
}
