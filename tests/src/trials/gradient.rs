//! Layer `gradient`: backward against differences of the backend's own forward, in `f64`.
//!
//! With L = Σ w·y for fixed weights w, backward of dy = w must give dL/dx, dL/dgamma, dL/dbeta and
//! dL/dresidual. No formula of a gradient stands on the other side, only forward.

use bn_core::{DType, Element, Layout};

use super::round_trip::{Fused, Mode, Setup};
use super::{place, problem};
use crate::call::{How, Operations};
use crate::compare::{Verdict, ensure};
use crate::data::{Case, Spread};
use crate::reference::{Double, walk};
use crate::trial::Plan;

const SHAPE: [usize; 3] = [4, 3, 3];

/// The step of the differences. The five-point rule's error is of its fourth power, the rounding of
/// L about 1e-16 divided by it.
const STEP: f64 = 1e-3;
/// What both errors together stay far below, relative to the largest gradient or 1.
const TOLERANCE: f64 = 1e-9;

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    // Differences need all the digits there are.
    if T::DTYPE == DType::F64 {
        for layout in Layout::ALL {
            let whole = Setup::training(problem(&SHAPE, layout));
            let groups = whole.problem.with_groups(2).expect("an even batch");
            for mode in [Mode::Train, Mode::Given] {
                for fused in [Fused::None, Fused::Relu, Fused::ReluBits, Fused::AddRelu] {
                    add(plan, layout, Setup { mode, fused, ..whole });
                }
                add(plan, layout, Setup { mode, problem: groups, ..whole });
            }
            add(plan, layout, Setup { gamma: false, beta: false, ..whole });
            add(plan, layout, Setup { mask: true, ..whole });
            add(plan, layout, Setup { mask: true, fused: Fused::AddRelu, ..whole });
            add(plan, layout, Setup { mask: true, problem: groups, ..whole });
        }
    }
}

fn add<T: Element>(plan: &mut Plan<T>, layout: Layout, setup: Setup) {
    let name = format!("gradient/{}/{}", place::<T>(layout), setup.name());
    plan.add(name, setup.needs(), move |operations| check(operations, &setup));
}

/// A parameter of L, and the gradient of it that backward gave.
enum Input {
    X,
    Gamma,
    Beta,
    Residual,
}

fn check<T: Element>(operations: &dyn Operations<T>, setup: &Setup) -> Verdict {
    let case = case::<T>(setup);
    let (forward, found) = setup.both(operations, &case, How::default())?;
    if setup.fused != Fused::None {
        let kink = forward.y.iter().map(|y| y.to_f64()).filter(|&y| y > 0.0).fold(9.0, f64::min);
        ensure(kink > 10.0 * STEP, || format!("y comes within {kink} of the kink of the ReLU"))?;
    }
    let wide = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
    let wide_param =
        |values: &[T::Param]| values.iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
    let gradients = [
        ("dx", Input::X, Some(wide(&found.dx))),
        ("dgamma", Input::Gamma, found.dgamma.as_deref().map(wide_param)),
        ("dbeta", Input::Beta, found.dbeta.as_deref().map(wide_param)),
        ("dresidual", Input::Residual, found.dresidual.as_deref().map(wide)),
    ];
    for (name, input, gradient) in gradients {
        for (index, found) in gradient.unwrap_or_default().into_iter().enumerate() {
            let expected = difference(operations, setup, &case, &input, index)?;
            ensure((found - expected).abs() <= TOLERANCE * expected.abs().max(1.0), || {
                format!("{name}[{index}] is {found:?}; differences of forward give {expected:?}")
            })?;
        }
    }
    Ok(())
}

/// x of two clusters, so that behind gamma near 1 and a small beta no value is near the kink.
fn case<T: Element>(setup: &Setup) -> Case<T> {
    let mut case = Case::<T>::spread(setup.problem, "gradient", Spread { mean: 0.0, std: 0.1 });
    for (index, cell) in walk(&setup.problem).enumerate() {
        let side = if cell.position % 2 == 0 { 1.0 } else { -1.0 };
        case.x[index] = T::from_f64(side + case.x[index].to_f64());
        let far = if cell.position % 3 == 0 { 5.0 } else { -5.0 };
        case.residual[index] = T::from_f64(far + 0.1 * case.residual[index].to_f64());
    }
    for statistic in 0..setup.problem.statistics() {
        case.given.0[statistic] *= 0.1;
        case.given.1[statistic] = 1.0 + 0.1 * (statistic % 3) as f64;
    }
    for beta in &mut case.beta {
        *beta = T::Param::from_f64(0.2 * beta.to_f64());
    }
    case
}

/// dL/dinput at one index, by the five-point rule.
fn difference<T: Element>(
    operations: &dyn Operations<T>,
    setup: &Setup,
    case: &Case<T>,
    input: &Input,
    index: usize,
) -> Result<f64, String> {
    let loss = |steps: f64| -> Result<Double, String> {
        let mut moved = case.clone();
        let by = steps * STEP;
        match input {
            Input::X => moved.x[index] = T::from_f64(moved.x[index].to_f64() + by),
            Input::Gamma => {
                moved.gamma[index] = T::Param::from_f64(moved.gamma[index].to_f64() + by);
            }
            Input::Beta => {
                moved.beta[index] = T::Param::from_f64(moved.beta[index].to_f64() + by);
            }
            Input::Residual => {
                moved.residual[index] = T::from_f64(moved.residual[index].to_f64() + by);
            }
        }
        let y = setup.forward(operations, &moved, How::default())?.y;
        let weighted = y.iter().zip(&case.dy);
        Ok(weighted.map(|(y, w)| Double::from(y.to_f64()) * Double::from(w.to_f64())).sum())
    };
    let near = loss(1.0)? - loss(-1.0)?;
    let far = loss(2.0)? - loss(-2.0)?;
    let five_points = Double::from(8.0) * near - far;
    Ok(five_points.to_f64() / (12.0 * STEP))
}
