//! Layer `operation`: each of the four required operations by itself, on statistics and sums that are not
//! those of the batch, so that nothing can be taken from anywhere else.

use bn_core::{Dependence, Element, Feature, Layout, Problem};

use super::{place, problem};
use crate::call::{
    ApplyCall, From, How, MaskOf, MomentsCall, NormalizeCall, Operations, Passed, ReduceCall, Sums,
    Tail,
};
use crate::compare::{Verdict, same_bits};
use crate::data::{Case, narrow, wide};
use crate::expect::{
    Affine, BackwardInputs, ExpectedGradients, ExpectedStatistics, expected_m2, expected_y,
};
use crate::reference::{Backward, Moments, pack_bits};
use crate::trial::Plan;

const SHAPES: [&[usize]; 3] = [&[6, 19, 5, 3], &[4, 2, 67], &[12, 33]];

/// What is asked besides the plain operation.
#[derive(Clone, Copy, Debug)]
struct Extra {
    groups: usize,
    mask: bool,
}

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    type Check<T> = fn(&dyn Operations<T>, &Case<T>, bool) -> Verdict;
    let operations: [(&str, Check<T>, bool); 4] = [
        ("moments", moments, true),
        ("normalize", normalize, false),
        ("backward-reduce", reduce, false),
        ("backward-apply", apply, true),
    ];
    for layout in Layout::ALL {
        for shape in SHAPES {
            for (groups, mask) in [(1, false), (2, false), (1, true), (2, true)] {
                let extra = Extra { groups, mask };
                let problem = problem(shape, layout);
                let problem = problem.with_groups(groups).expect("an even batch");
                for (operation, check, takes_mask) in operations {
                    if mask && !takes_mask {
                        continue;
                    }
                    let name = name::<T>(layout, operation, shape, extra);
                    plan.add(name, needs(&problem, extra), move |operations| {
                        check(operations, &Case::new(problem, "operation"), mask)
                    });
                }
            }
        }
    }
}

fn name<T: Element>(layout: Layout, operation: &str, shape: &[usize], extra: Extra) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let groups = if extra.groups > 1 { "+groups2" } else { "" };
    let mask = if extra.mask { "+mask" } else { "" };
    format!("operation/{}/{operation}/{}{groups}{mask}", place::<T>(layout), dims.join("x"))
}

fn needs(problem: &Problem, extra: Extra) -> Vec<Feature> {
    let mut needs = vec![Feature::from(problem.layout())];
    needs.extend((extra.groups > 1).then_some(Feature::Groups));
    needs.extend(extra.mask.then_some(Feature::Mask));
    needs
}

fn moments<T: Element>(operations: &dyn Operations<T>, case: &Case<T>, mask: bool) -> Verdict {
    let problem = case.problem;
    let bytes = mask.then_some(&case.mask[..]);
    let reference = Moments::of(&problem, &wide(&case.x), bytes);
    let mask = bytes.map(|bytes| MaskOf { problem, bytes });
    let call = MomentsCall { problem, x: &case.x, mask };
    let found = operations.moments(&call, How::default())?.written()?;
    ExpectedStatistics::of_batch(&reference, case.eps, T::DTYPE)
        .mean()
        .meets("mean", &found.mean)?;
    expected_m2(&reference, T::DTYPE).meets("m2", &found.m2)
}

fn normalize<T: Element>(operations: &dyn Operations<T>, case: &Case<T>, _: bool) -> Verdict {
    let supports = |feature| operations.capabilities().supports(feature);
    normalize_with(operations, case, Tail::None)?;
    if supports(Feature::Relu) {
        normalize_with(operations, case, Tail::Relu { bits: false })?;
    }
    if supports(Feature::AddRelu) {
        let bits = supports(Feature::ActivationBits);
        normalize_with(operations, case, Tail::AddRelu { residual: &case.residual, bits })?;
    }
    Ok(())
}

fn normalize_with<T: Element>(
    operations: &dyn Operations<T>,
    case: &Case<T>,
    tail: Tail<'_, T>,
) -> Verdict {
    let problem = case.problem;
    let (mean, inv_std) = (&case.given.0[..], &case.given.1[..]);
    let (gamma, beta) = (wide(&case.gamma), wide(&case.beta));
    let (residual, relu, bits) = match tail {
        Tail::None => (None, false, false),
        Tail::Relu { bits } => (None, true, bits),
        Tail::AddRelu { residual, bits } => (Some(wide(residual)), true, bits),
    };
    let statistics = ExpectedStatistics::given(mean, inv_std);
    let residual = residual.as_deref();
    let affine = Affine { gamma: Some(&gamma), beta: Some(&beta), residual, relu };
    let expected = expected_y(&problem, T::DTYPE, &statistics, &wide(&case.x), affine);
    let call = NormalizeCall {
        problem,
        x: &case.x,
        mean,
        inv_std,
        gamma: Some(&case.gamma),
        beta: Some(&case.beta),
        tail,
    };
    let found = operations.normalize(&call, How::default())?.written()?;
    expected.meets("y", &found.y)?;
    if bits {
        let open: Vec<bool> = found.y.iter().map(|y| y.to_f64() > 0.0).collect();
        let found = found.bits.ok_or("the bits are gone")?;
        same_bits("bits", &found, &pack_bits(&problem, &open))?;
    }
    Ok(())
}

/// Gradients of a case through its given statistics, behind a ReLU whose output is the residual.
fn gradients<T: Element>(case: &Case<T>, mask: Option<&[u8]>, saved: &[f64]) -> ExpectedGradients {
    let (dy, gamma) = (wide(&case.dy), wide(&case.gamma));
    let open: Vec<bool> = case.residual.iter().map(|y| y.to_f64() > 0.0).collect();
    let inputs = Backward {
        problem: &case.problem,
        dy: &dy,
        open: Some(&open),
        saved: (saved, false),
        mean: &case.given.0,
        inv_std: &case.given.1,
        gamma: Some(&gamma),
        dependence: Dependence::Batch,
        mask,
    };
    BackwardInputs { inputs, dtype: T::DTYPE }.expected()
}

fn reduce<T: Element>(operations: &dyn Operations<T>, case: &Case<T>, _: bool) -> Verdict {
    let expected = gradients(case, None, &wide(&case.x));
    // Whether a backend without a fused ReLU reduces rightly is tried by the round trips.
    let has_relu = operations.capabilities().supports(Feature::Relu);
    let dy: Vec<T> = narrow(&expected.dresidual.values);
    let call = ReduceCall {
        problem: case.problem,
        dy: if has_relu { &case.dy } else { &dy },
        passed: if has_relu { Passed::Output(&case.residual) } else { Passed::All },
        from: From::Input(&case.x),
        mean: &case.given.0,
        inv_std: &case.given.1,
    };
    let found = operations.reduce(&call, How::default())?.written()?;
    expected.sum_dy.meets("sum_dy", &found.sum_dy)?;
    expected.sum_dy_xhat.meets("sum_dy_xhat", &found.sum_dy_xhat)
}

fn apply<T: Element>(operations: &dyn Operations<T>, case: &Case<T>, mask: bool) -> Verdict {
    let problem = case.problem;
    let bytes = mask.then_some(&case.mask[..]);
    let expected = gradients(case, bytes, &wide(&case.x));
    let has_relu = operations.capabilities().supports(Feature::Relu);
    let dy: Vec<T> = narrow(&expected.dresidual.values);
    let counts = Moments::of(&problem, &wide(&case.x), bytes).count;
    let counts: Vec<u64> = counts.into_iter().step_by(problem.channels()).collect();
    let call = ApplyCall {
        problem,
        dy: if has_relu { &case.dy } else { &dy },
        passed: if has_relu { Passed::Output(&case.residual) } else { Passed::All },
        dresidual: operations.capabilities().supports(Feature::AddRelu),
        inv_std: &case.given.1,
        gamma: Some(&case.gamma),
        sums: Some(Sums {
            from: From::Input(&case.x),
            mean: &case.given.0,
            sum_dy: &expected.sum_dy.values,
            sum_dy_xhat: &expected.sum_dy_xhat.values,
            counts: &counts,
            mask: bytes.map(|bytes| MaskOf { problem, bytes }),
        }),
    };
    let found = operations.apply(&call, How::default())?.written()?;
    expected.dx_of_sums.meets("dx", &found.dx)?;
    if call.dresidual {
        let found = found.dresidual.ok_or("dresidual is gone")?;
        expected.dresidual.meets("dresidual", &found)?;
    }
    synchronised(operations, case, &call)
}

/// Counts and sums over two processes with the same data: the gradient of each is that of one alone.
fn synchronised<T: Element>(
    operations: &dyn Operations<T>,
    case: &Case<T>,
    call: &ApplyCall<'_, T>,
) -> Verdict {
    let Some(sums) = call.sums else { return Ok(()) };
    let twice = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|sum| 2.0 * sum).collect() };
    let (sum_dy, sum_dy_xhat) = (twice(sums.sum_dy), twice(sums.sum_dy_xhat));
    let counts: Vec<u64> = sums.counts.iter().map(|count| 2 * count).collect();
    let (sum_dy, sum_dy_xhat, counts) = (&sum_dy[..], &sum_dy_xhat[..], &counts[..]);
    let both = ApplyCall { sums: Some(Sums { sum_dy, sum_dy_xhat, counts, ..sums }), ..*call };
    let expected = gradients(case, sums.mask.map(|mask| mask.bytes), &wide(&case.x)).dx_of_sums;
    let found = operations.apply(&both, How::default())?.written()?;
    expected.meets("dx with the counts of two processes", &found.dx)
}
