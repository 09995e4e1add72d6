//! One value per channel in training.

use bn_core::{Element, Error, Layout, Momentum, Problem, RunningVariance, SingleValue};

use crate::call::{How, MaskOf, Operations, TrainingCall, Update};
use crate::compare::{Expected, Verdict, ensure};
use crate::data::{Case, wide};
use crate::expect::expected_running;
use crate::trials::problem;
use crate::trials::round_trip::update;

/// One sample and one position.
fn problems(layout: Layout) -> [Problem; 3] {
    [&[1, 5][..], &[1, 67], &[1, 3, 1, 1]].map(|shape| problem(shape, layout))
}

fn refusal<T: Element>(
    operations: &dyn Operations<T>,
    case: &Case<T>,
    mask: Option<MaskOf<'_>>,
    group: usize,
) -> Verdict {
    let update = Some(update(case));
    let call = TrainingCall { update, mask, ..TrainingCall::new(case.problem, &case.x) };
    let error = operations.training(&call, How::default())?.refused()?;
    ensure(error == Error::OneValuePerChannel { group }, || {
        format!("refused with “{error}”; expected OneValuePerChannel of group {group}")
    })
}

/// An error by default, and nothing written: no NaN in running statistics.
pub(super) fn refused<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    problems(layout)
        .into_iter()
        .try_for_each(|problem| refusal(operations, &Case::new(problem, "single"), None, 0))
}

/// Where it is allowed: y = beta, and n/(n − 1) taken as 1, so that the running variance is fed a 0.
pub(super) fn allowed<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    for problem in problems(layout) {
        let case = Case::<T>::new(problem, "single");
        for variance in [RunningVariance::Biased, RunningVariance::Unbiased] {
            for momentum in [Momentum::New(0.25), Momentum::CaffeSum(0.9)] {
                let update = Update { before: &case.running, momentum, variance };
                let call = TrainingCall {
                    gamma: Some(&case.gamma),
                    beta: Some(&case.beta),
                    update: Some(update),
                    single_value: SingleValue::Allow,
                    ..TrainingCall::new(problem, &case.x)
                };
                let found = operations.training(&call, How::default())?.written()?;
                Expected::rounded(wide(&case.beta)).meets("y", &found.y)?;
                Expected::rounded(wide(&case.x)).meets("save_mean", &found.mean)?;
                let running = found.running.ok_or("running statistics are gone")?;
                let (mean, var) = expected_running::<T>(&problem, &wide(&case.x), None, &update);
                mean.meets("running_mean", &running.mean)?;
                var.meets("running_var", &running.var)?;
            }
        }
    }
    Ok(())
}

/// Groups of one sample each.
pub(super) fn of_a_group<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let grouped = problem(&[4, 5], layout).with_groups(4).expect("a divisor of the batch");
    let case = Case::<T>::new(grouped, "single");
    refusal(operations, &case, None, 0)?;
    let single_value = SingleValue::Allow;
    let update = Some(update(&case));
    let call = TrainingCall { single_value, update, ..TrainingCall::new(grouped, &case.x) };
    let found = operations.training(&call, How::default())?.written()?;
    Expected::rounded(vec![0.0; case.x.len()]).meets("y", &found.y)?;
    let (mean, var) = expected_running::<T>(
        &grouped,
        &wide(&case.x),
        None,
        &call.update.expect("there is an update"),
    );
    let running = found.running.ok_or("running statistics are gone")?;
    mean.meets("running_mean", &running.mean)?;
    var.meets("running_var", &running.var)
}

/// A mask that leaves one position.
pub(super) fn of_a_mask<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let case = Case::<T>::new(problem(&[2, 3, 4], layout), "single");
    let mut bytes = vec![0; case.problem.positions()];
    bytes[6] = 1;
    let mask = MaskOf { problem: case.problem, bytes: &bytes };
    refusal(operations, &case, Some(mask), 0)?;
    let single_value = SingleValue::Allow;
    let mask = Some(mask);
    let call = TrainingCall { single_value, mask, ..TrainingCall::new(case.problem, &case.x) };
    let found = operations.training(&call, How::default())?.written()?;
    let right: Vec<f64> = (0..3)
        .map(|c| {
            let mut cells = crate::reference::walk(&case.problem);
            let index = cells.position(|cell| cell.channel == c && cell.position == 6);
            case.x[index.expect("a cell of the shape")].to_f64()
        })
        .collect();
    Expected::rounded(right).meets("save_mean", &found.mean)
}
