//! Channels that are constant, whose variance is exactly 0.

use bn_core::{DType, Element, Feature, Layout};

use crate::call::{How, MomentsCall, Operations};
use crate::compare::{Verdict, ensure, same_bits};
use crate::data::Case;
use crate::reference::walk;
use crate::trials::problem;
use crate::trials::round_trip::{Fused, Setup};

/// An odd number of values in a channel, so that a sum divided by the count is seldom the value.
const SHAPE: [usize; 4] = [3, 7, 7, 9];

/// The constants of the channels.
fn values(dtype: DType) -> [f64; 7] {
    match dtype {
        DType::F16 => [6e4, -0.1, 1.0 / 3.0, 0.0, -3e-7, 1234.0, 1e-2],
        DType::F64 => [1e7, -0.1, 1e30, 0.0, 1e150, -1e-300, 1.0 / 3.0],
        _ => [1e7, -0.1, 1e30, 0.0, 1e37, -1e-37, 1.0 / 3.0],
    }
}

fn case<T: Element>(layout: Layout) -> Case<T> {
    let mut case = Case::<T>::new(problem(&SHAPE, layout), "constants");
    for (x, cell) in case.x.iter_mut().zip(walk(&case.problem)) {
        *x = T::from_f64(values(T::DTYPE)[cell.channel]);
    }
    case
}

/// y is exactly beta, the mean exactly the constant, M2 exactly 0.
pub(super) fn exactly_beta<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    constant(operations, layout, How::default())
}

pub(super) fn exactly_beta_in_place<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    constant(operations, layout, How::IN_PLACE)
}

fn constant<T: Element>(operations: &dyn Operations<T>, layout: Layout, how: How) -> Verdict {
    let case = case::<T>(layout);
    let call = MomentsCall { problem: case.problem, x: &case.x, mask: None };
    let moments = operations.moments(&call, How::default())?.written()?;
    for c in 0..case.problem.channels() {
        let (found, right) =
            ((moments.mean[c], moments.m2[c]), T::from_f64(values(T::DTYPE)[c]).to_f64());
        ensure(found == (right, 0.0), || {
            format!("mean and M2 of channel {c} are {found:?}; expected exactly {right:?} and 0")
        })?;
    }
    for (gamma, beta) in [(true, true), (true, false), (false, false)] {
        let setup = Setup { gamma, beta, how, ..Setup::training(case.problem) };
        let found = setup.forward(operations, &case, how)?;
        for (index, cell) in walk(&case.problem).enumerate() {
            let beta = if beta { case.beta[cell.channel].to_f64() } else { 0.0 };
            let (found, right) = (found.y[index], T::from_f64(beta));
            ensure(found == right, || {
                format!("y[{index}] is {found:?}; expected exactly beta, {right:?}")
            })?;
        }
        setup.check(operations, &case)?;
    }
    Ok(())
}

/// Constant but for one value, at either end: a variance that is small and not 0.
pub(super) fn constant_but_one<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let base = if T::DTYPE == DType::F16 { 2e3 } else { 1e4 };
    let last = SHAPE[0] * SHAPE[2] * SHAPE[3] - 1;
    for odd_one in [0, last / 2, last] {
        let mut case = Case::<T>::new(problem(&SHAPE, layout), "constants");
        for (x, cell) in case.x.iter_mut().zip(walk(&case.problem)) {
            let value = if cell.position == odd_one { base * 1.01 } else { base };
            *x = T::from_f64(value);
        }
        Setup::training(case.problem).check(operations, &case)?;
    }
    Ok(())
}

/// relu of a zero, of either sign, is +0, and its bit is not set.
pub(super) fn zeros_do_not_pass<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let mut case = case::<T>(layout);
    for (c, beta) in case.beta.iter_mut().enumerate() {
        *beta = T::Param::from_f64([0.0, -0.0, 1.0][c % 3]);
    }
    let residual: Vec<T> = walk(&case.problem)
        .map(|cell| T::from_f64(if cell.position % 2 == 0 { -0.0 } else { 0.0 }))
        .collect();
    case.residual = residual;
    let zero = T::from_f64(0.0);
    for fused in [Fused::ReluBits, Fused::AddReluBits] {
        if fused.adds() && !operations.capabilities().supports(Feature::AddRelu) {
            continue;
        }
        let setup = Setup { fused, ..Setup::training(case.problem) };
        let found = setup.forward(operations, &case, How::default())?;
        let is_one = |c: usize| c % 3 == 2;
        let right: Vec<T> = walk(&case.problem)
            .map(|cell| if is_one(cell.channel) { T::from_f64(1.0) } else { zero })
            .collect();
        same_bits("y", &found.y, &right)?;
        let open: Vec<bool> = walk(&case.problem).map(|cell| is_one(cell.channel)).collect();
        let right = crate::reference::pack_bits(&case.problem, &open);
        same_bits("bits", &found.bits.unwrap_or_default(), &right)?;
    }
    Ok(())
}
