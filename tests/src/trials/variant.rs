//! Layer `variant`: other forms of the same backend give the same bits in every output.

use std::sync::Arc;

use bn_core::{Element, Layout, Problem};

use super::round_trip::{Fused, Mode, Setup, same_backward, same_forward};
use super::{place, problem};
use crate::call::{From, How, MomentsCall, Operations, Passed, ReduceCall};
use crate::compare::{Verdict, same_bits};
use crate::data::Case;
use crate::trial::{Absence, Plan, Subject};

/// From what no one cuts to what everyone does; fewer channels than threads, rows longer than a tile.
const SHAPES: [&[usize]; 7] = [
    &[3, 5, 2, 7],
    &[1, 1, 9001],
    &[2, 3, 4099],
    &[1000, 17],
    &[37, 300],
    &[8, 33, 17, 16],
    &[4, 130, 28, 28],
];

pub(crate) fn all<T: Element>(plan: &mut Plan<T>, name: &str, variant: &Subject<T>) {
    for layout in Layout::ALL {
        for shape in SHAPES {
            for setup in setups(problem(shape, layout)) {
                let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
                let (place, dims) = (place::<T>(layout), dims.join("x"));
                let name = format!("variant/{name}/{place}/{dims}/{}", setup.name());
                match variant {
                    Subject::Absent(absence) => absent(plan, name, absence.clone()),
                    Subject::Here(variant) => {
                        let variant = Arc::clone(variant);
                        plan.add(name, setup.needs(), move |first| {
                            same_answers(first, &*variant, &setup)
                        });
                    }
                }
            }
        }
    }
}

fn setups(problem: Problem) -> Vec<Setup> {
    let whole = Setup::training(problem);
    let mut setups = vec![
        whole,
        Setup { fused: Fused::AddReluBits, ..whole },
        Setup { mode: Mode::Eval, fused: Fused::Relu, ..whole },
    ];
    if let Ok(problem) = problem.with_groups(2) {
        setups.push(Setup { problem, mask: true, ..whole });
    }
    setups
}

fn absent<T: Element>(plan: &mut Plan<T>, name: String, absence: Absence) {
    let mut missing = Plan::<T>::new(Subject::Absent(absence));
    missing.add(name, [], |_| Ok(()));
    plan.extend(missing.into_trials());
}

fn same_answers<T: Element>(
    first: &dyn Operations<T>,
    other: &dyn Operations<T>,
    setup: &Setup,
) -> Verdict {
    let case = Case::<T>::new(setup.problem, "variant");
    let run = |operations| setup.both(operations, &case, How::default());
    let (expected, found) = (run(first)?, run(other)?);
    same_forward(&found.0, &expected.0)?;
    same_backward(&found.1, &expected.1)?;

    let Case { problem, x, dy, given: (mean, inv_std), .. } = &case;
    let (problem, from) = (*problem, From::Input(&x[..]));
    let call = MomentsCall { problem, x, mask: None };
    let run = |operations: &dyn Operations<T>| operations.moments(&call, How::default())?.written();
    let (expected, found) = (run(first)?, run(other)?);
    same_bits("mean", &found.mean, &expected.mean)?;
    same_bits("m2", &found.m2, &expected.m2)?;
    let call = ReduceCall { problem, dy, passed: Passed::All, from, mean, inv_std };
    let run = |operations: &dyn Operations<T>| operations.reduce(&call, How::default())?.written();
    let (expected, found) = (run(first)?, run(other)?);
    same_bits("sum_dy", &found.sum_dy, &expected.sum_dy)?;
    same_bits("sum_dy_xhat", &found.sum_dy_xhat, &expected.sum_dy_xhat)
}
