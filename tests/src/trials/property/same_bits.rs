//! Properties of repetition and of composition.

use bn_core::{Element, Feature, Layout};

use crate::call::{BackwardCall, From, How, MomentsCall, NormalizeCall, Operations, TrainingCall};
use crate::compare::{Verdict, same_bits, same_bits_option};
use crate::data::{Case, wide};
use crate::expect::{Affine, ExpectedStatistics, expected_y};
use crate::reference::Moments;
use crate::trials::problem;
use crate::trials::round_trip::{Fused, Mode, Setup, same_backward, same_forward};

/// Large enough that a parallel backend cuts it.
const SHAPE: [usize; 4] = [8, 33, 17, 16];

/// Training agrees with moments and normalize one after the other.
pub(super) fn fused_forward_is_its_parts<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "same-bits");
    let Case { problem, x, gamma, beta, eps, .. } = &case;
    let (problem, gamma, beta) = (*problem, Some(&gamma[..]), Some(&beta[..]));
    let call = MomentsCall { problem, x, mask: None };
    let moments = operations.moments(&call, How::default())?.written()?;
    let m = problem.count() as f64;
    let inv_std: Vec<f64> = moments.m2.iter().map(|m2| 1.0 / (m2 / m + eps).sqrt()).collect();
    let (mean, tail) = (&moments.mean[..], crate::call::Tail::None);
    let call = NormalizeCall { problem, x, mean, inv_std: &inv_std, gamma, beta, tail };
    let parts = operations.normalize(&call, How::default())?.written()?;
    let call = TrainingCall { gamma, beta, eps: *eps, ..TrainingCall::new(problem, x) };
    let fused = operations.training(&call, How::default())?.written()?;

    let [gamma, beta] = [&case.gamma, &case.beta].map(|values| wide(values));
    let reference = Moments::of(&problem, &wide(x), None);
    let statistics = ExpectedStatistics::of_batch(&reference, *eps, T::DTYPE);
    let affine = Affine { gamma: Some(&gamma), beta: Some(&beta), ..Affine::default() };
    let y = expected_y(&problem, T::DTYPE, &statistics, &wide(x), affine);
    statistics.mean().around(mean.to_vec()).meets("save_mean", &fused.mean)?;
    statistics.inv_std().around(inv_std).meets("save_inv_std", &fused.inv_std)?;
    y.meets("y of the parts", &parts.y)?;
    y.meets("y", &fused.y)
}

/// Four runs of forward and backward, the same bits in each output.
pub(super) fn every_run_gives_the_same_bits<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "same-bits");
    let setup = Setup::training(case.problem);
    let (forward, backward) = setup.both(operations, &case, How::default())?;
    for _ in 0..3 {
        let again = setup.both(operations, &case, How::default())?;
        same_forward(&again.0, &forward)?;
        same_backward(&again.1, &backward)?;
    }
    Ok(())
}

/// Whether bits are recorded or not, y is the same bits.
pub(super) fn bits_leave_y_alone<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "same-bits");
    for mode in [Mode::Train, Mode::Eval] {
        for (without, with) in
            [(Fused::Relu, Fused::ReluBits), (Fused::AddRelu, Fused::AddReluBits)]
        {
            let run = |fused| {
                let setup = Setup { mode, fused, ..Setup::training(case.problem) };
                setup.forward(operations, &case, How::default())
            };
            same_bits("y with bits", &run(with)?.y, &run(without)?.y)?;
        }
    }
    Ok(())
}

/// The gradients that are asked for do not depend on which others are.
pub(super) fn outputs_not_asked_for<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "same-bits");
    let has_residual = operations.capabilities().supports(Feature::AddRelu);
    let run = |wanted: [bool; 3]| {
        let wanted = [wanted[0], wanted[1], wanted[2] && has_residual];
        let (mean, inv_std) = (&case.given.0, &case.given.1);
        let from = From::Input(&case.x);
        let call = BackwardCall::new(case.problem, &case.dy, from, mean, inv_std);
        operations.backward(&BackwardCall { wanted, ..call }, How::default())?.written()
    };
    let all = run([true; 3])?;
    for wanted in [[false; 3], [true, false, false], [false, true, false], [false, false, true]] {
        let some = run(wanted)?;
        let name = |output: &str| format!("{output} with dgamma, dbeta, dresidual as {wanted:?}");
        same_bits(&name("dx"), &some.dx, &all.dx)?;
        for (output, found, expected) in
            [("dgamma", some.dgamma, &all.dgamma), ("dbeta", some.dbeta, &all.dbeta)]
        {
            if let Some(found) = found {
                same_bits_option(&name(output), Some(&found[..]), expected.as_deref())?;
            }
        }
        if let Some(found) = some.dresidual {
            same_bits(&name("dresidual"), &found, &case.dy)?;
        }
    }
    Ok(())
}
