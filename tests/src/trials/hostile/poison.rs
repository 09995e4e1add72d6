//! NaN and infinities: each spoils its own channel of its own group, visibly, and nothing else.

use bn_core::{Element, Layout};

use crate::call::{BackwardOut, ForwardOut, How, Operations};
use crate::compare::{Verdict, ensure};
use crate::data::Case;
use crate::reference::{Cell, walk};
use crate::trials::problem;
use crate::trials::round_trip::{Fused, Mode, Setup};

const SHAPE: [usize; 4] = [4, 19, 3, 7];
const POISONS: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
/// Poisoned cells: the first, one in the middle, the last of all.
const PLACES: [(usize, usize); 3] = [(0, 0), (8, 40), (18, 83)];

/// A case with one poisoned cell in a tensor.
fn poisoned<T: Element>(
    clean: &Case<T>,
    (channel, position): (usize, usize),
    poison: f64,
    tensor: impl Fn(&mut Case<T>) -> &mut Vec<T>,
) -> Case<T> {
    let mut case = clean.clone();
    let mut cells = walk(&clean.problem);
    let index = cells.position(|cell| cell.channel == channel && cell.position == position);
    tensor(&mut case)[index.expect("a cell of the shape")] = T::from_f64(poison);
    case
}

fn same<E: PartialEq + core::fmt::Debug>(name: &str, found: &E, clean: &E) -> Verdict {
    ensure(found == clean, || format!("{name} is {found:?}; without the poison it is {clean:?}"))
}

/// Whether tensors are the same where no poison is, and NaN where all is spoilt.
fn judge_tensor<T: Element>(
    name: &str,
    clean: &Case<T>,
    [found, expected]: [&[T]; 2],
    is_spoilt: impl Fn(&Cell) -> bool,
) -> Verdict {
    for (index, cell) in walk(&clean.problem).enumerate() {
        if is_spoilt(&cell) {
            let found = found[index];
            ensure(found.to_f64().is_nan(), || {
                format!("{name}[{index}] is {found:?} in a spoilt channel; expected NaN")
            })?;
        } else {
            same(&format!("{name}[{index}]"), &found[index], &expected[index])?;
        }
    }
    Ok(())
}

fn judge_forward<T: Element>(
    clean: &Case<T>,
    [found, expected]: [&ForwardOut<T>; 2],
    channel: usize,
    statistic: usize,
) -> Verdict {
    for of in 0..expected.mean.len() {
        if of == statistic {
            ensure(!found.mean[of].is_finite(), || format!("save_mean[{of}] hides the poison"))?;
            ensure(found.inv_std[of].is_nan(), || format!("save_inv_std[{of}] hides the poison"))?;
        } else {
            same(&format!("save_mean[{of}]"), &found.mean[of], &expected.mean[of])?;
            same(&format!("save_inv_std[{of}]"), &found.inv_std[of], &expected.inv_std[of])?;
        }
    }
    judge_tensor("y", clean, [&found.y, &expected.y], |cell| cell.statistic == statistic)?;
    let (Some(found), Some(expected)) = (&found.running, &expected.running) else {
        return Ok(());
    };
    for c in 0..expected.mean.len() {
        if c == channel {
            let hides = |value: T::Param| value.to_f64().is_finite();
            ensure(!hides(found.mean[c]) && !hides(found.var[c]), || {
                format!("the running statistics of channel {c} hide the poison")
            })?;
        } else {
            same(&format!("running_mean[{c}]"), &found.mean[c], &expected.mean[c])?;
            same(&format!("running_var[{c}]"), &found.var[c], &expected.var[c])?;
        }
    }
    Ok(())
}

fn judge_backward<T: Element>(
    clean: &Case<T>,
    [found, expected]: [&BackwardOut<T>; 2],
    channel: usize,
) -> Verdict {
    judge_tensor("dx", clean, [&found.dx, &expected.dx], |cell| cell.channel == channel)?;
    for (name, found, expected) in
        [("dgamma", &found.dgamma, &expected.dgamma), ("dbeta", &found.dbeta, &expected.dbeta)]
    {
        let found = found.as_deref().unwrap_or_default();
        for (c, expected) in expected.iter().flatten().enumerate() {
            if c == channel {
                let hides = name == "dgamma" && found[c].to_f64().is_finite();
                ensure(!hides, || format!("dgamma[{c}] hides the poison"))?;
            } else {
                same(&format!("{name}[{c}]"), &found[c], expected)?;
            }
        }
    }
    Ok(())
}

/// In training a poisoned value spoils its channel: y, statistics, running statistics, dx and dgamma.
pub(super) fn of_x_in_training<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let clean = Case::<T>::new(problem(&SHAPE, layout), "poison");
    let setup = Setup::training(clean.problem);
    let expected = setup.both(operations, &clean, How::default())?;
    for place in PLACES {
        for poison in POISONS {
            let case = poisoned(&clean, place, poison, |case| &mut case.x);
            let found = setup.both(operations, &case, How::default())?;
            judge_forward(&clean, [&found.0, &expected.0], place.0, place.0)
                .and_then(|()| judge_backward(&clean, [&found.1, &expected.1], place.0))
                .map_err(|wrong| format!("{poison} in x at {place:?}: {wrong}"))?;
        }
    }
    Ok(())
}

/// With groups it spoils the channel of its group; the running statistics of the channel know no groups.
pub(super) fn of_x_in_groups<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let grouped = problem(&SHAPE, layout).with_groups(2).expect("an even batch");
    let clean = Case::<T>::new(grouped, "poison");
    let setup = Setup::training(grouped);
    let expected = setup.forward(operations, &clean, How::default())?;
    for place in PLACES {
        let (channel, position) = place;
        let group = position / (grouped.positions() / 2);
        let case = poisoned(&clean, place, f64::NAN, |case| &mut case.x);
        let found = setup.forward(operations, &case, How::default())?;
        let statistic = group * grouped.channels() + channel;
        judge_forward(&clean, [&found, &expected], channel, statistic)
            .map_err(|wrong| format!("NaN in x at {place:?}: {wrong}"))?;
    }
    Ok(())
}

/// With fixed statistics it spoils itself.
pub(super) fn of_x_with_fixed_statistics<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let clean = Case::<T>::new(problem(&SHAPE, layout), "poison");
    for mode in [Mode::Eval, Mode::Given] {
        let setup = Setup { mode, ..Setup::training(clean.problem) };
        let expected = setup.forward(operations, &clean, How::default())?.y;
        for place in PLACES {
            let case = poisoned(&clean, place, f64::NAN, |case| &mut case.x);
            let found = setup.forward(operations, &case, How::default())?.y;
            let is_it = |cell: &Cell| (cell.channel, cell.position) == place;
            judge_tensor("y", &clean, [&found, &expected], is_it)?;
        }
    }
    Ok(())
}

/// A poisoned gradient spoils its channel's gradients.
pub(super) fn of_dy<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let clean = Case::<T>::new(problem(&SHAPE, layout), "poison");
    let setup = Setup::training(clean.problem);
    let expected = setup.both(operations, &clean, How::default())?.1;
    for place in PLACES {
        for poison in POISONS {
            let case = poisoned(&clean, place, poison, |case| &mut case.dy);
            let found = setup.both(operations, &case, How::default())?.1;
            // An infinite gradient leaves infinities, of which the differences are NaN.
            let named = |wrong| format!("{poison} in dy at {place:?}: {wrong}");
            let hides = |found: &BackwardOut<T>| {
                let pairs = walk(&clean.problem).zip(&found.dx);
                pairs
                    .filter(|(cell, _)| cell.channel == place.0)
                    .all(|(_, dx)| dx.to_f64().is_finite())
            };
            ensure(!hides(&found), || named("dx hides it".into()))?;
            let mut found = found;
            for (index, cell) in walk(&clean.problem).enumerate() {
                if cell.channel == place.0 {
                    found.dx[index] = T::from_f64(f64::NAN);
                }
            }
            judge_backward(&clean, [&found, &expected], place.0).map_err(named)?;
        }
    }
    Ok(())
}

/// relu(NaN) is NaN, and its bit is set: a NaN must stay visible, and its gradient flow.
pub(super) fn through_the_relu<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let clean = Case::<T>::new(problem(&SHAPE, layout), "poison");
    let place = PLACES[1];
    let case = poisoned(&clean, place, f64::NAN, |case| &mut case.x);
    let setup =
        Setup { mode: Mode::Given, fused: Fused::ReluBits, ..Setup::training(clean.problem) };
    let found = setup.forward(operations, &case, How::default())?;
    let index = walk(&clean.problem).position(|cell| (cell.channel, cell.position) == place);
    let index = index.expect("a cell of the shape");
    ensure(found.y[index].to_f64().is_nan(), || format!("y is {:?}, not NaN", found.y[index]))?;
    let open: Vec<bool> = found.y.iter().map(|y| y.to_f64() > 0.0 || y.to_f64().is_nan()).collect();
    let right = crate::reference::pack_bits(&clean.problem, &open);
    crate::compare::same_bits("bits", &found.bits.unwrap_or_default(), &right)
}

/// A NaN among gamma, beta or the running statistics spoils its own channel.
pub(super) fn of_parameters<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let clean = Case::<T>::new(problem(&SHAPE, layout), "poison");
    let nan = T::Param::from_f64(f64::NAN);
    let channel = 11;
    for (name, mode) in
        [("gamma", Mode::Train), ("beta", Mode::Train), ("mean", Mode::Eval), ("var", Mode::Eval)]
    {
        let setup = Setup { mode, ..Setup::training(clean.problem) };
        let expected = setup.forward(operations, &clean, How::default())?.y;
        let mut case = clean.clone();
        match name {
            "gamma" => case.gamma[channel] = nan,
            "beta" => case.beta[channel] = nan,
            "mean" => case.running.mean[channel] = nan,
            _ => case.running.var[channel] = nan,
        }
        let found = setup.forward(operations, &case, How::default())?.y;
        judge_tensor("y", &clean, [&found, &expected], |cell| cell.channel == channel)
            .map_err(|wrong| format!("NaN in {name}: {wrong}"))?;
    }
    Ok(())
}
