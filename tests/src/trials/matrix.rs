//! Layer `reference`: every combination of mode, parameters, epilogue and place, on one odd shape in each
//! layout; groups and masks with every mode that knows them.

use bn_core::{Element, Layout};

use super::round_trip::{Fused, Mode, Setup};
use super::{place, problem};
use crate::call::How;
use crate::data::Case;
use crate::trial::Plan;

/// Prime in its channels, no multiple of any vector length in its plane.
const SHAPE: [usize; 4] = [4, 5, 3, 7];

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    for layout in Layout::ALL {
        let whole = Setup::training(problem(&SHAPE, layout));
        for mode in [Mode::Train, Mode::Eval, Mode::Given] {
            for (gamma, beta) in [(true, true), (true, false), (false, true), (false, false)] {
                for fused in Fused::ALL {
                    for how in [How::default(), How::IN_PLACE] {
                        add(plan, layout, Setup { mode, gamma, beta, fused, how, ..whole });
                    }
                }
            }
        }
        let groups = |count| whole.problem.with_groups(count).expect("a divisor of the batch");
        for (problem, mask) in
            [(groups(2), false), (groups(4), false), (whole.problem, true), (groups(2), true)]
        {
            for fused in [Fused::None, Fused::AddReluBits] {
                for how in [How::default(), How::IN_PLACE] {
                    add(plan, layout, Setup { problem, mask, fused, how, ..whole });
                }
            }
        }
        for mode in [Mode::Given, Mode::Eval] {
            add(plan, layout, Setup { problem: groups(2), mode, ..whole });
        }
    }
}

fn add<T: Element>(plan: &mut Plan<T>, layout: Layout, setup: Setup) {
    let name = format!("reference/{}/{}", place::<T>(layout), setup.name());
    plan.add(name, setup.needs(), move |operations| {
        setup.check(operations, &Case::new(setup.problem, "reference"))
    });
}
