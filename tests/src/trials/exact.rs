//! Layer `exact`: data of small whole numbers and halves whose sums are exact in any order, so that every
//! output has one right answer, to the bit.
//!
//! Values of a channel come in neighbouring pairs centre ± d and their number is a power of two: the mean is
//! the centre, Σ(x − mean)² a whole number, and every partial result of any tree of sums, of Welford's or
//! Chan's recurrences over halves of the data, fits the type.

use bn_core::{Dependence, Element, Feature, Layout, Momentum, Problem, RunningVariance, Seen};

use super::{place, problem};
use crate::call::{
    BackwardCall, From, How, MomentsCall, NormalizeCall, Operations, Passed, ReduceCall, Running,
    Tail, TrainingCall, Update,
};
use crate::compare::{Verdict, ensure};
use crate::data::{Stream, narrow, wide};
use crate::reference::{Backward, Double, Moments, Normalizer, walk};
use crate::trial::Plan;

/// Powers of two in batch and plane.
const SHAPES: [&[usize]; 5] = [&[2, 3, 8], &[8, 7], &[4, 5, 4, 4], &[16, 33, 2], &[2, 2, 1024]];

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    type Check<T> = fn(&dyn Operations<T>, &Whole<T>) -> Verdict;
    let checks: [(&str, Check<T>, usize); 6] = [
        ("moments", moments, 1),
        ("moments-of-groups", moments, 2),
        ("normalize", normalize, 1),
        ("training", training, 1),
        ("backward-reduce", reduce, 1),
        ("backward", backward, 1),
    ];
    for layout in Layout::ALL {
        for shape in SHAPES {
            let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
            for (what, check, groups) in checks {
                let problem = problem(shape, layout).with_groups(groups).expect("an even batch");
                let name = format!("exact/{}/{what}/{}", place::<T>(layout), dims.join("x"));
                let groups = (groups > 1).then_some(Feature::Groups);
                let needs = [Some(problem.layout().into()), groups].into_iter().flatten();
                plan.add(name, needs, move |operations| check(operations, &Whole::new(problem)));
            }
        }
    }
}

/// Inputs of small whole numbers and halves.
struct Whole<T: Element> {
    problem: Problem,
    x: Vec<T>,
    dy: Vec<T>,
    mean: Vec<f64>,
    inv_std: Vec<f64>,
    gamma: Vec<T::Param>,
    beta: Vec<T::Param>,
}

impl<T: Element> Whole<T> {
    fn new(problem: Problem) -> Self {
        let mut stream = Stream::new("exact");
        let (channels, positions) = (problem.channels(), problem.positions());
        let mut whole =
            |from: i32, to: i32| f64::from(from) + stream.below((to - from + 1) as usize) as f64;
        let centre: Vec<f64> = (0..channels).map(|_| whole(-8, 8)).collect();
        let pairs: Vec<f64> = (0..channels * positions.div_ceil(2)).map(|_| whole(1, 7)).collect();
        let gradients: Vec<f64> = (0..problem.elements()).map(|_| whole(-3, 3)).collect();
        let x = walk(&problem).map(|cell| {
            let d = pairs[cell.channel * positions.div_ceil(2) + cell.position / 2];
            let sign = if cell.position % 2 == 0 { 1.0 } else { -1.0 };
            T::from_f64(centre[cell.channel] + sign * d)
        });
        Self {
            x: x.collect(),
            dy: walk(&problem).map(|cell| T::from_f64(gradients[cell.logical])).collect(),
            mean: centre.repeat(problem.groups()),
            inv_std: (0..problem.statistics()).map(|of| [0.5, 1.0][of % 2]).collect(),
            gamma: (0..channels).map(|c| T::Param::from_f64([-0.5, 1.0, 2.0][c % 3])).collect(),
            beta: (0..channels).map(|_| T::Param::from_f64(whole(-4, 4))).collect(),
            problem,
        }
    }
}

/// Whether every value is the one right answer; both zeros are.
fn exactly<E: Element>(name: &str, found: &[E], expected: &[f64]) -> Verdict {
    ensure(found.len() == expected.len(), || format!("{name} has {} values", found.len()))?;
    let right: Vec<E> = narrow(expected);
    let wrong = found.iter().zip(&right).position(|(found, right)| found != right);
    wrong.map_or(Ok(()), |index| {
        let (found, right) = (found[index], right[index]);
        Err(format!("{name}[{index}] is {found:?}; expected exactly {right:?}"))
    })
}

fn doubles(values: &[f64]) -> Vec<Double> {
    values.iter().copied().map(Double::from).collect()
}

fn to_f64(values: &[Double]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn moments<T: Element>(operations: &dyn Operations<T>, whole: &Whole<T>) -> Verdict {
    let reference = Moments::of(&whole.problem, &wide(&whole.x), None);
    let call = MomentsCall { problem: whole.problem, x: &whole.x, mask: None };
    let found = operations.moments(&call, How::default())?.written()?;
    exactly("mean", &found.mean, &whole.mean)?;
    exactly("m2", &found.m2, &to_f64(&reference.m2))
}

fn normalize<T: Element>(operations: &dyn Operations<T>, whole: &Whole<T>) -> Verdict {
    let Whole { problem, mean, inv_std, .. } = whole;
    let (gamma, beta) = (wide(&whole.gamma), wide(&whole.beta));
    let expected = Normalizer {
        problem,
        mean: &doubles(mean),
        inv_std: &doubles(inv_std),
        gamma: Some(&gamma),
        beta: Some(&beta),
        residual: None,
        relu: false,
    };
    let call = NormalizeCall {
        problem: *problem,
        x: &whole.x,
        mean,
        inv_std,
        gamma: Some(&whole.gamma),
        beta: Some(&whole.beta),
        tail: Tail::None,
    };
    let found = operations.normalize(&call, How::default())?.written()?;
    exactly("y", &found.y, &expected.apply(&wide(&whole.x)).y)
}

/// Mean, biased variance and the running update with weights of one half are exact; the inverse root
/// is not, and may be two ulp off.
fn training<T: Element>(operations: &dyn Operations<T>, whole: &Whole<T>) -> Verdict {
    let Whole { problem, .. } = *whole;
    let reference = Moments::of(&problem, &wide(&whole.x), None);
    let ones = vec![T::Param::from_f64(1.0); problem.channels()];
    let before = Running { mean: ones.clone(), var: ones, seen: Seen::default() };
    let (momentum, variance) = (Momentum::New(0.5), RunningVariance::Biased);
    let call = TrainingCall {
        eps: 0.5,
        update: Some(Update { before: &before, momentum, variance }),
        ..TrainingCall::new(problem, &whole.x)
    };
    let found = operations.training(&call, How::default())?.written()?;
    exactly("save_mean", &found.mean, &whole.mean)?;
    for (of, (found, expected)) in found.inv_std.iter().zip(reference.inv_std(0.5)).enumerate() {
        let (expected, two_ulp) = (expected.to_f64(), 2.0 * f64::EPSILON);
        ensure((found - expected).abs() <= two_ulp * expected, || {
            format!("save_inv_std[{of}] is {found:?}; expected {expected:?} to two ulp")
        })?;
    }
    let half = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().map(|value| 0.5 + 0.5 * value).collect()
    };
    let variance = (0..problem.channels()).map(|c| reference.variance(c).to_f64()).collect();
    let running = found.running.ok_or("running statistics are gone")?;
    exactly("running_mean", &running.mean, &half(whole.mean.clone()))?;
    exactly("running_var", &running.var, &half(variance))
}

fn reference<'a, T: Element>(
    whole: &'a Whole<T>,
    [x, dy, gamma]: [&'a [f64]; 3],
    dependence: Dependence,
) -> Backward<'a> {
    let Whole { problem, mean, inv_std, .. } = whole;
    let (saved, gamma) = ((x, false), Some(gamma));
    Backward { problem, dy, open: None, saved, mean, inv_std, gamma, dependence, mask: None }
}

fn reduce<T: Element>(operations: &dyn Operations<T>, whole: &Whole<T>) -> Verdict {
    let inputs = [wide(&whole.x), wide(&whole.dy), wide(&whole.gamma)];
    let expected = reference(whole, inputs.each_ref().map(Vec::as_slice), Dependence::Batch);
    let expected = expected.gradients();
    let call = ReduceCall {
        problem: whole.problem,
        dy: &whole.dy,
        passed: Passed::All,
        from: From::Input(&whole.x),
        mean: &whole.mean,
        inv_std: &whole.inv_std,
    };
    let found = operations.reduce(&call, How::default())?.written()?;
    exactly("sum_dy", &found.sum_dy, &expected.sum_dy)?;
    exactly("sum_dy_xhat", &found.sum_dy_xhat, &expected.sum_dy_xhat)
}

fn backward<T: Element>(operations: &dyn Operations<T>, whole: &Whole<T>) -> Verdict {
    let Whole { problem, mean, inv_std, .. } = whole;
    let inputs = [wide(&whole.x), wide(&whole.dy), wide(&whole.gamma)];
    for dependence in [Dependence::Fixed, Dependence::Batch] {
        let expected = reference(whole, inputs.each_ref().map(Vec::as_slice), dependence);
        let expected = expected.gradients();
        let from = From::Input(&whole.x);
        let call = BackwardCall {
            dependence,
            gamma: Some(&whole.gamma),
            ..BackwardCall::new(*problem, &whole.dy, from, mean, inv_std)
        };
        let found = operations.backward(&call, How::default())?.written()?;
        let named = |name: &str| format!("{name} ({dependence:?})");
        exactly(&named("dx"), &found.dx, &expected.dx)?;
        let (dgamma, dbeta) = (found.dgamma.unwrap_or_default(), found.dbeta.unwrap_or_default());
        exactly(&named("dgamma"), &dgamma, &expected.dgamma)?;
        exactly(&named("dbeta"), &dbeta, &expected.dbeta)?;
    }
    Ok(())
}
