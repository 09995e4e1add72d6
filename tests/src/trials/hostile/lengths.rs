//! Operands of wrong lengths: an error that names operand, length and what was expected, and nothing written.

use bn_core::{Element, Error, Layout, Problem};

use super::Check;
use crate::call::{
    ApplyCall, BackwardCall, Called, Fixed, From, How, InferenceCall, MaskOf, MomentsCall,
    NormalizeCall, Operations, Passed, ReduceCall, Sums, Tail, TrainingCall,
};
use crate::compare::{Verdict, ensure};
use crate::data::Case;
use crate::trials::problem;
use crate::trials::round_trip::update;

const SHAPE: [usize; 4] = [4, 3, 2, 5];

/// An operand and its right length.
type Operand = (&'static str, fn(&Problem) -> usize);

const TENSOR: fn(&Problem) -> usize = Problem::elements;
const CHANNELS: fn(&Problem) -> usize = Problem::channels;
const STATISTICS: fn(&Problem) -> usize = Problem::statistics;
const BITS: fn(&Problem) -> usize = Problem::bits_len;
const POSITIONS: fn(&Problem) -> usize = Problem::positions;

/// Each operation with its trial.
pub(super) fn operations<T: Element>() -> [(&'static str, Check<T>); 7] {
    [
        ("moments", moments),
        ("normalize", normalize),
        ("backward-reduce", reduce),
        ("backward-apply", apply),
        ("forward-training", training),
        ("forward-inference", inference),
        ("backward", backward),
    ]
}

fn case<T: Element>(layout: Layout) -> Case<T> {
    Case::new(problem(&SHAPE, layout), "lengths")
}

/// Makes the call with each operand too short, too long, and twice as long.
fn each<O>(problem: &Problem, operands: &[Operand], call: impl Fn(How) -> Called<O>) -> Verdict {
    for &(operand, right) in operands {
        let right = right(problem);
        for found in [right - 1, right + 1, 2 * right] {
            let how = How { wrong: Some((operand, found)), ..How::default() };
            let named = |wrong: String| format!("{operand} of {found} values: {wrong}");
            let error = call(how).and_then(|reply| reply.refused()).map_err(named)?;
            let names_it = matches!(error, Error::Length { operand: o, found: f, expected: e, .. }
                if (o, f, e) == (operand, found, right));
            ensure(names_it, || {
                named(format!("“{error}”; expected an error of its length and of {right}"))
            })?;
        }
    }
    Ok(())
}

fn moments<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, mask, .. } = &case::<T>(layout);
    let mask = Some(MaskOf { problem: *problem, bytes: mask });
    let call = MomentsCall { problem: *problem, x, mask };
    let operands = [("x", TENSOR), ("mask", POSITIONS), ("mean", STATISTICS), ("m2", STATISTICS)];
    each(problem, &operands, |how| operations.moments(&call, how))
}

fn normalize<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, gamma, beta, residual, given: (mean, inv_std), .. } = &case::<T>(layout);
    let call = NormalizeCall {
        problem: *problem,
        x,
        mean,
        inv_std,
        gamma: Some(gamma),
        beta: Some(beta),
        tail: Tail::AddRelu { residual, bits: true },
    };
    let operands = [
        ("x", TENSOR),
        ("y", TENSOR),
        ("mean", STATISTICS),
        ("inv_std", STATISTICS),
        ("gamma", CHANNELS),
        ("beta", CHANNELS),
        ("residual", TENSOR),
        ("bits", BITS),
    ];
    each(problem, &operands, |how| operations.normalize(&call, how))
}

fn reduce<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, dy, residual, given: (mean, inv_std), .. } = &case::<T>(layout);
    let bits = vec![0; problem.bits_len()];
    let (from, passed) = (From::Input(&x[..]), Passed::Output(&residual[..]));
    let call = ReduceCall { problem: *problem, dy, passed, from, mean, inv_std };
    let operands = [
        ("dy", TENSOR),
        ("y", TENSOR),
        ("x", TENSOR),
        ("mean", STATISTICS),
        ("inv_std", STATISTICS),
        ("sum_dy", STATISTICS),
        ("sum_dy_xhat", STATISTICS),
    ];
    each(problem, &operands, |how| operations.reduce(&call, how))?;
    let call = ReduceCall { passed: Passed::Bits(&bits), ..call };
    each(problem, &[("bits", BITS)], |how| operations.reduce(&call, how))?;
    let call = ReduceCall { from: From::Normalized(x), ..call };
    each(problem, &[("x̂", TENSOR)], |how| operations.reduce(&call, how))
}

fn apply<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, dy, residual, gamma, mask, given: (mean, inv_std), .. } =
        &case::<T>(layout);
    let valid = mask.iter().filter(|&&byte| byte != 0).count() as u64;
    let sums = Sums {
        from: From::Input(x),
        mean,
        sum_dy: mean,
        sum_dy_xhat: inv_std,
        counts: &[valid],
        mask: Some(MaskOf { problem: *problem, bytes: mask }),
    };
    let call = ApplyCall {
        problem: *problem,
        dy,
        passed: Passed::Output(residual),
        dresidual: true,
        inv_std,
        gamma: Some(gamma),
        sums: Some(sums),
    };
    let operands = [
        ("dy", TENSOR),
        ("dx", TENSOR),
        ("y", TENSOR),
        ("dresidual", TENSOR),
        ("inv_std", STATISTICS),
        ("gamma", CHANNELS),
        ("x", TENSOR),
        ("mean", STATISTICS),
        ("sum_dy", STATISTICS),
        ("sum_dy_xhat", STATISTICS),
        ("mask", POSITIONS),
    ];
    each(problem, &operands, |how| operations.apply(&call, how))
}

fn training<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let case = case::<T>(layout);
    let Case { problem, x, residual, mask, .. } = &case;
    let call = TrainingCall {
        mask: Some(MaskOf { problem: *problem, bytes: mask }),
        gamma: Some(&case.gamma),
        beta: Some(&case.beta),
        tail: Tail::AddRelu { residual, bits: true },
        update: Some(update(&case)),
        ..TrainingCall::new(*problem, x)
    };
    let operands = [
        ("x", TENSOR),
        ("y", TENSOR),
        ("mask", POSITIONS),
        ("gamma", CHANNELS),
        ("beta", CHANNELS),
        ("residual", TENSOR),
        ("bits", BITS),
        ("running_mean", CHANNELS),
        ("running_var", CHANNELS),
        ("save_mean", STATISTICS),
        ("save_inv_std", STATISTICS),
    ];
    each(problem, &operands, |how| operations.training(&call, how))
}

fn inference<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, gamma, beta, residual, running, given, eps, .. } = &case::<T>(layout);
    let (mean, var) = (&running.mean[..], &running.var[..]);
    let call = InferenceCall {
        problem: *problem,
        x,
        fixed: Fixed::Running { mean, var, scale: 1.0, eps: *eps },
        gamma: Some(gamma),
        beta: Some(beta),
        tail: Tail::AddRelu { residual, bits: true },
    };
    let operands = [
        ("x", TENSOR),
        ("y", TENSOR),
        ("running_mean", CHANNELS),
        ("running_var", CHANNELS),
        ("gamma", CHANNELS),
        ("beta", CHANNELS),
        ("residual", TENSOR),
        ("bits", BITS),
        ("save_mean", CHANNELS),
        ("save_inv_std", CHANNELS),
    ];
    each(problem, &operands, |how| operations.inference(&call, how))?;
    let call = InferenceCall { fixed: Fixed::Given { mean: &given.0, inv_std: &given.1 }, ..call };
    let operands = [("mean", STATISTICS), ("inv_std", STATISTICS)];
    each(problem, &operands, |how| operations.inference(&call, how))
}

fn backward<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let Case { problem, x, dy, residual, gamma, mask, given: (mean, inv_std), .. } =
        &case::<T>(layout);
    let call = BackwardCall {
        mask: Some(MaskOf { problem: *problem, bytes: mask }),
        gamma: Some(gamma),
        passed: Passed::Output(residual),
        wanted: [true; 3],
        ..BackwardCall::new(*problem, dy, From::Input(x), mean, inv_std)
    };
    let operands = [
        ("dy", TENSOR),
        ("dx", TENSOR),
        ("x", TENSOR),
        ("mean", STATISTICS),
        ("inv_std", STATISTICS),
        ("mask", POSITIONS),
        ("gamma", CHANNELS),
        ("y", TENSOR),
        ("dgamma", CHANNELS),
        ("dbeta", CHANNELS),
        ("dresidual", TENSOR),
    ];
    each(problem, &operands, |how| operations.backward(&call, how))
}
