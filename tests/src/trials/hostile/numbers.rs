//! Numbers, counts, masks and shapes that no one can mean.

use bn_core::{ChannelMoments, Element, Error, Layout, Momentum, Problem, RunningVariance};

use crate::call::{
    ApplyCall, Fixed, From, How, InferenceCall, MaskOf, MomentsCall, Operations, Passed, Sums,
    Tail, TrainingCall, Update,
};
use crate::compare::{Verdict, ensure};
use crate::data::Case;
use crate::trials::problem;
use crate::trials::round_trip::update;

const SHAPE: [usize; 3] = [4, 3, 5];

fn due(error: &Error, right: bool, what: &str) -> Verdict {
    ensure(right, || format!("{what}: “{error}” is not the error that was due"))
}

/// eps ≤ 0 or not finite, momentum outside [0, 1]: an error, nothing written.
pub(super) fn bad_numbers<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "numbers");
    let training =
        TrainingCall { update: Some(update(&case)), ..TrainingCall::new(case.problem, &case.x) };
    let (mean, var) = (&case.running.mean[..], &case.running.var[..]);
    for eps in [0.0, -0.0, -1e-5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let call = TrainingCall { eps, ..training };
        let error = operations.training(&call, How::default())?.refused()?;
        let names_it = matches!(error, Error::Eps { found } if found.to_bits() == eps.to_bits());
        due(&error, names_it, &format!("eps {eps} in training"))?;
        let call = InferenceCall {
            problem: case.problem,
            x: &case.x,
            fixed: Fixed::Running { mean, var, scale: 1.0, eps },
            gamma: None,
            beta: None,
            tail: Tail::None,
        };
        let error = operations.inference(&call, How::default())?.refused()?;
        due(&error, matches!(error, Error::Eps { .. }), &format!("eps {eps} in inference"))?;
    }
    let mut momenta: Vec<Momentum> = Vec::new();
    for bad in [-0.1, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY] {
        momenta.extend([Momentum::New(bad), Momentum::Old(bad)]);
    }
    momenta.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Momentum::CaffeSum));
    let moments = vec![ChannelMoments::of(&[1.0, 2.0]); case.problem.channels()];
    for momentum in momenta {
        let variance = RunningVariance::Unbiased;
        let update = Update { before: &case.running, momentum, variance };
        let call = TrainingCall { update: Some(update), ..training };
        let error = operations.training(&call, How::default())?.refused()?;
        due(&error, matches!(error, Error::Momentum { .. }), &format!("momentum {momentum}"))?;
        let error = operations.absorb(&moments, update, How::default())?.refused()?;
        due(&error, matches!(error, Error::Momentum { .. }), &format!("absorbing, {momentum}"))?;
    }
    Ok(())
}

/// Counts that do not fit the groups, masks of another problem or without a valid position.
pub(super) fn bad_counts_and_masks<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "numbers");
    let Case { problem, x, dy, mask, given: (mean, inv_std), .. } = &case;
    let (problem, from) = (*problem, From::Input(&x[..]));
    for counts in [&[][..], &[0], &[10, 10]] {
        let sums = Sums { from, mean, sum_dy: mean, sum_dy_xhat: mean, counts, mask: None };
        let call = ApplyCall {
            problem,
            dy,
            passed: Passed::All,
            dresidual: false,
            inv_std,
            gamma: None,
            sums: Some(sums),
        };
        let error = operations.apply(&call, How::default())?.refused()?;
        due(&error, matches!(error, Error::Counts { .. }), &format!("counts {counts:?}"))?;
    }
    // As many positions, but cut otherwise.
    let grouped = problem.with_groups(2).expect("an even batch");
    let other = crate::trials::problem(&[SHAPE[2], SHAPE[1], SHAPE[0]], layout);
    for made_for in [grouped, other] {
        let call =
            MomentsCall { problem, x, mask: Some(MaskOf { problem: made_for, bytes: mask }) };
        let error = operations.moments(&call, How::default())?.refused()?;
        due(&error, error == Error::MaskOfAnotherProblem, "a mask of another problem")?;
    }
    let mut bytes = vec![1; problem.positions()];
    bytes[problem.positions() / 2..].fill(0);
    for (problem, bytes, group) in
        [(grouped, &bytes[..], 1), (problem, &vec![0; problem.positions()][..], 0)]
    {
        let call = MomentsCall { problem, x, mask: Some(MaskOf { problem, bytes }) };
        let error = operations.moments(&call, How::default())?.refused()?;
        due(&error, error == Error::NoValidPositions { group }, "a mask without a position")?;
    }
    Ok(())
}

/// Shapes that are refused where they are made, so that no backend ever sees them.
pub(super) fn bad_shapes<T: Element>(_: &dyn Operations<T>, layout: Layout) -> Verdict {
    let half = usize::MAX / 2;
    let shapes: [(&[usize], &str); 9] = [
        (&[], "Rank"),
        (&[4], "Rank"),
        (&[0, 3, 3], "EmptyBatch"),
        (&[4, 3, 0, 3], "EmptyBatch"),
        (&[usize::MAX, 2], "SizeOverflow"),
        (&[half, 3, 2], "SizeOverflow"),
        (&[1 << 32, 1 << 31, 4], "SizeOverflow"),
        (&[2, half, half, 2], "SizeOverflow"),
        (&[usize::MAX, usize::MAX, usize::MAX], "SizeOverflow"),
    ];
    for (shape, due) in shapes {
        let error = Problem::new(shape, layout).err().ok_or(format!("{shape:?} was accepted"))?;
        let right = match due {
            "Rank" => matches!(error, Error::Rank { .. }),
            "EmptyBatch" => matches!(error, Error::EmptyBatch { .. } | Error::NoChannels { .. }),
            _ => matches!(error, Error::SizeOverflow { .. }),
        };
        ensure(right, || format!("{shape:?}: “{error}”; expected {due}"))?;
    }
    let none: &[usize] = if layout == Layout::ChannelsFirst { &[2, 0, 3] } else { &[2, 3, 0] };
    let error = Problem::new(none, layout).err().ok_or("no channels were accepted")?;
    ensure(matches!(error, Error::NoChannels { .. }), || format!("{none:?}: “{error}”"))
}
