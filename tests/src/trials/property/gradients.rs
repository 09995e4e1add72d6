//! Properties of backward.

use bn_core::{Dependence, Element, Layout};

use crate::call::{
    ApplyCall, BackwardCall, BackwardOut, From, How, Operations, Passed, ReduceCall, Sums,
};
use crate::compare::{Verdict, ensure, same_bits, same_bits_option};
use crate::data::{Case, narrow, wide};
use crate::expect::{BackwardInputs, ExpectedGradients};
use crate::reference::{Backward, Double, Moments, pack_bits, walk};
use crate::tolerance::half_ulp;
use crate::trials::problem;

const SHAPE: [usize; 4] = [6, 5, 3, 7];

/// A case, its statistics, and what the reference expects of backward through them.
struct Given<T: Element> {
    case: Case<T>,
    mean: Vec<f64>,
    inv_std: Vec<f64>,
    expected: ExpectedGradients,
}

impl<T: Element> Given<T> {
    fn new(layout: Layout) -> Self {
        let case = Case::<T>::new(problem(&SHAPE, layout), "gradients");
        let moments = Moments::of(&case.problem, &wide(&case.x), None);
        let to_f64 = |values: &[Double]| values.iter().map(|value| value.to_f64()).collect();
        let (mean, inv_std): (Vec<f64>, Vec<f64>) =
            (to_f64(&moments.mean), to_f64(&moments.inv_std(case.eps)));
        let expected = expected(&case, &case.dy, (&wide(&case.x), false), [&mean, &inv_std]);
        Self { case, mean, inv_std, expected }
    }

    fn call(&self) -> BackwardCall<'_, T> {
        let Self { case, mean, inv_std, .. } = self;
        BackwardCall {
            gamma: Some(&case.gamma),
            ..BackwardCall::new(case.problem, &case.dy, From::Input(&case.x), mean, inv_std)
        }
    }
}

fn expected<T: Element>(
    case: &Case<T>,
    dy: &[T],
    saved: (&[f64], bool),
    [mean, inv_std]: [&[f64]; 2],
) -> ExpectedGradients {
    let (dy, gamma) = (wide(dy), wide(&case.gamma));
    let inputs = Backward {
        problem: &case.problem,
        dy: &dy,
        open: None,
        saved,
        mean,
        inv_std,
        gamma: Some(&gamma),
        dependence: Dependence::Batch,
        mask: None,
    };
    BackwardInputs { inputs, dtype: T::DTYPE }.expected()
}

fn run<T: Element>(
    operations: &dyn Operations<T>,
    call: &BackwardCall<'_, T>,
) -> Result<BackwardOut<T>, String> {
    operations.backward(call, How::default())?.written()
}

/// Σdx = 0, and Σdx·x̂ = gamma·inv_std·Σdy·x̂·eps/(var + eps), which is 0 but for eps: batch statistics
/// take away what would move the mean and the variance.
pub(super) fn dx_sums_to_nothing<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let given = Given::<T>::new(layout);
    let Given { case, mean, inv_std, expected } = &given;
    let found = run(operations, &given.call())?;
    let channels = case.problem.channels();
    let mut sums = vec![[Double::default(); 2]; channels];
    let mut tolerances = vec![[0.0; 2]; channels];
    for (index, cell) in walk(&case.problem).enumerate() {
        let c = cell.channel;
        let (x, dx) = (case.x[index].to_f64(), Double::from(found.dx[index].to_f64()));
        let x_hat = (Double::from(x) - Double::from(mean[c])) * Double::from(inv_std[c]);
        sums[c][0] += dx;
        sums[c][1] += dx * x_hat;
        let tolerance = half_ulp(T::DTYPE, expected.dx.values[index]) + expected.dx.slack[index];
        tolerances[c][0] += tolerance;
        tolerances[c][1] += tolerance * x_hat.to_f64().abs();
    }
    for c in 0..channels {
        let left = case.eps * inv_std[c] * inv_std[c];
        let left = case.gamma[c].to_f64() * inv_std[c] * expected.sum_dy_xhat.values[c] * left;
        for (name, found, right, tolerance) in [
            ("dx", sums[c][0], 0.0, tolerances[c][0]),
            ("dx·x̂", sums[c][1], left, tolerances[c][1]),
        ] {
            let found = found.to_f64();
            ensure((found - right).abs() <= tolerance, || {
                format!(
                    "the sum of {name} in channel {c} is {found:e}; expected {right:e} ± {tolerance:.2e}"
                )
            })?;
        }
    }
    Ok(())
}

/// Twice the gradient in, exactly twice the gradients out: a power of two rounds nothing.
pub(super) fn dx_is_linear_in_dy<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let given = Given::<T>::new(layout);
    let twice = |values: &[f64]| values.iter().map(|value| 2.0 * value).collect::<Vec<f64>>();
    let dy: Vec<T> = narrow(&twice(&wide(&given.case.dy)));
    let once = run(operations, &given.call())?;
    let found = run(operations, &BackwardCall { dy: &dy, ..given.call() })?;
    let doubled = |values: Option<Vec<T::Param>>| {
        values.map(|values| narrow::<T::Param>(&twice(&wide(&values))))
    };
    // Below the normal range the last bit of the once rounded value is lost.
    let is_normal = |dx: &T| dx.to_f64().abs() > 1e-4;
    for (index, (once, found)) in once.dx.iter().zip(&found.dx).enumerate() {
        let right = T::from_f64(2.0 * once.to_f64());
        ensure(!is_normal(once) || *found == right, || {
            format!("dx[{index}] of twice dy is {found:?}; expected {right:?}")
        })?;
    }
    same_bits_option("dgamma", found.dgamma.as_deref(), doubled(once.dgamma).as_deref())?;
    same_bits_option("dbeta", found.dbeta.as_deref(), doubled(once.dbeta).as_deref())
}

/// Backward agrees with backward-reduce and backward-apply one after the other, and what the parts say
/// with the reference.
pub(super) fn fused_backward_is_its_parts<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let given = Given::<T>::new(layout);
    let Given { case, mean, inv_std, expected } = &given;
    let (problem, dy, from) = (case.problem, &case.dy[..], From::Input(&case.x));
    let reduce = ReduceCall { problem, dy, passed: Passed::All, from, mean, inv_std };
    let sums = operations.reduce(&reduce, How::default())?.written()?;
    let counts = [problem.count()];
    let (sum_dy, sum_dy_xhat) = (&sums.sum_dy[..], &sums.sum_dy_xhat[..]);
    let sums = Sums { from, mean, sum_dy, sum_dy_xhat, counts: &counts, mask: None };
    let apply = ApplyCall {
        problem,
        dy,
        passed: Passed::All,
        dresidual: false,
        inv_std,
        gamma: Some(&case.gamma),
        sums: Some(sums),
    };
    let parts = operations.apply(&apply, How::default())?.written()?;
    let fused = run(operations, &given.call())?;
    let around = expected.dx.around(wide(&parts.dx));
    around.meets("dx of the parts", &parts.dx)?;
    expected.dx.meets("dx of the parts", &parts.dx)?;
    around.meets("dx", &fused.dx)?;
    let dgamma = expected.dgamma.around(sum_dy_xhat.to_vec());
    dgamma.meets("dgamma, held against Σdy·x̂", &fused.dgamma.unwrap_or_default())?;
    let dbeta = expected.dbeta.around(sum_dy.to_vec());
    dbeta.meets("dbeta, held against Σdy", &fused.dbeta.unwrap_or_default())
}

/// A gate from y, a gate from bits, and dy with zeros where the gate is shut give the same bits.
pub(super) fn gates_agree<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let given = Given::<T>::new(layout);
    let mut y = given.case.residual.clone();
    // Zeros of both signs are shut, NaN is open.
    (y[0], y[1]) = (T::from_f64(0.0), T::from_f64(-0.0));
    y[2] = T::from_f64(f64::NAN);
    let open: Vec<bool> = y.iter().map(|y| super::super::round_trip::passes(y.to_f64())).collect();
    let bits = pack_bits(&given.case.problem, &open);
    let zeroed = given.case.dy.iter().zip(&open);
    let zeroed: Vec<T> = zeroed.map(|(&dy, &open)| if open { dy } else { T::default() }).collect();
    let wanted = [true; 3];
    let expected = run(operations, &BackwardCall { dy: &zeroed, wanted, ..given.call() })?;
    for (gate, passed) in [("y", Passed::Output(&y)), ("bits", Passed::Bits(&bits))] {
        let found = run(operations, &BackwardCall { passed, wanted, ..given.call() })?;
        let named = |name: &str| format!("{name} behind a gate from {gate}");
        let residual = found.dresidual.as_deref();
        same_bits_option(&named("dresidual"), residual, expected.dresidual.as_deref())?;
        let dgamma = (found.dgamma.as_deref(), expected.dgamma.as_deref());
        same_bits_option(&named("dgamma"), dgamma.0, dgamma.1)?;
        same_bits_option(&named("dbeta"), found.dbeta.as_deref(), expected.dbeta.as_deref())?;
        same_bits(&named("dx"), &found.dx, &expected.dx)?;
    }
    Ok(())
}

/// Backward from x̂ agrees with the reference for that x̂; mean and inv_std then enter only as scale.
pub(super) fn backward_from_x_hat<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let given = Given::<T>::new(layout);
    let Given { case, mean, inv_std, .. } = &given;
    let statistics = walk(&case.problem).map(|cell| (mean[cell.channel], inv_std[cell.channel]));
    let x_hat = case.x.iter().zip(statistics).map(|(x, (mean, inv))| (x.to_f64() - mean) * inv);
    let x_hat: Vec<T> = x_hat.map(T::from_f64).collect();
    let expected = expected(case, &case.dy, (&wide(&x_hat), true), [mean, inv_std]);
    let from = From::Normalized(&x_hat);
    // A mean that must not be looked at.
    let no_mean = vec![f64::NAN; mean.len()];
    for how in [How::default(), How::IN_PLACE] {
        if how.in_place && !operations.capabilities().supports(bn_core::Feature::InPlace) {
            continue;
        }
        let call = BackwardCall { from, mean: &no_mean, ..given.call() };
        let found = operations.backward(&call, how)?.written()?;
        expected.dx.meets("dx", &found.dx)?;
        expected.dgamma.meets("dgamma", &found.dgamma.unwrap_or_default())?;
        expected.dbeta.meets("dbeta", &found.dbeta.unwrap_or_default())?;
    }
    Ok(())
}
