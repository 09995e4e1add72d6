//! Values far from zero, far from one, and far from each other.

use bn_core::{DType, Element, Layout, Seen};

use crate::call::{How, Operations, Running};
use crate::compare::{Verdict, ensure};
use crate::data::{Case, Spread, wide};
use crate::reference::{Moments, Normalizer, walk};
use crate::trials::problem;
use crate::trials::round_trip::{Mode, Setup};

const SHAPE: [usize; 4] = [8, 5, 13, 11];

/// A mean that costs a one-pass variance all its digits.
///
/// In `f32` at mean 1e4 and deviation 1, |y − y64| ≤ 1e-6·max(1, |y64|) is the contract's own promise.
pub(super) fn large_mean<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let (mean, std) = match T::DTYPE {
        DType::F32 => (1e4, 1.0),
        DType::F64 => (1e9, 1.0),
        DType::F16 => (1e3, 4.0),
        _ => (2e2, 4.0),
    };
    far_from_zero(operations, layout, Spread { mean, std })
}

/// The same where the deviation is a few steps of the type.
pub(super) fn large_mean_small_variance<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let (mean, std) = match T::DTYPE {
        DType::F32 => (-1e4, 5e-3),
        DType::F64 => (-1e9, 1e-5),
        DType::F16 => (-1e3, 1.0),
        _ => (-2e2, 1.0),
    };
    far_from_zero(operations, layout, Spread { mean, std })
}

fn far_from_zero<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
    spread: Spread,
) -> Verdict {
    let case = Case::<T>::spread(problem(&SHAPE, layout), "far", spread);
    for affine in [true, false] {
        let setup = Setup { gamma: affine, beta: affine, ..Setup::training(case.problem) };
        setup.check(operations, &case)?;
        if T::DTYPE == DType::F32 && spread.std == 1.0 {
            let found = setup.forward(operations, &case, How::default())?.y;
            within_a_millionth(&case, affine, &found)?;
        }
    }
    Ok(())
}

fn within_a_millionth<T: Element>(case: &Case<T>, affine: bool, found: &[T]) -> Verdict {
    let (x, gamma, beta) = (wide(&case.x), wide(&case.gamma), wide(&case.beta));
    let moments = Moments::of(&case.problem, &x, None);
    let inv_std = moments.inv_std(case.eps);
    let normalizer = Normalizer {
        problem: &case.problem,
        mean: &moments.mean,
        inv_std: &inv_std,
        gamma: affine.then_some(&gamma),
        beta: affine.then_some(&beta),
        residual: None,
        relu: false,
    };
    let right = normalizer.apply(&x).y;
    let off = |(found, y): (&T, &f64)| (found.to_f64() - y).abs() / y.abs().max(1.0);
    let worst = found.iter().zip(&right).map(off).fold(0.0, f64::max);
    ensure(worst <= 1e-6, || format!("y is off by {worst:.2e}·max(1, |y|); expected at most 1e-6"))
}

/// Fixed statistics far from zero: a mean rounded to the element type, or y = x·alpha + shift, shows.
pub(super) fn large_mean_fixed_statistics<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let mean = if T::DTYPE == DType::F16 { 1e3 } else { 1e4 };
    let problem = problem(&SHAPE, layout);
    let mut case = Case::<T>::spread(problem, "fixed", Spread { mean, std: 1.0 });
    for (given, c) in case.given.0.iter_mut().zip(0..) {
        *given = mean + f64::from(c) / 7.0;
    }
    for mode in [Mode::Given, Mode::Eval] {
        Setup { mode, ..Setup::training(problem) }.check(operations, &case)?;
    }
    Ok(())
}

/// Values whose squares are beyond the type, though mean and deviation are not.
pub(super) fn huge_values<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let sizes: &[f64] = match T::DTYPE {
        DType::F64 => &[1e30, 1e140],
        DType::F16 => &[6e3],
        _ => &[1e15, 1e30, 1e37],
    };
    of_size(operations, layout, sizes)
}

/// Values whose squares are below the type.
pub(super) fn tiny_values<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let sizes: &[f64] = match T::DTYPE {
        DType::F64 => &[1e-30, 1e-150],
        DType::F16 => &[1e-4],
        _ => &[1e-15, 1e-25],
    };
    of_size(operations, layout, sizes)
}

fn of_size<T: Element>(operations: &dyn Operations<T>, layout: Layout, sizes: &[f64]) -> Verdict {
    for &size in sizes {
        let mut case = sized(layout, size);
        // The running variance of 1e37 is no f32; a fresh one lets the update be seen to overflow alone.
        let fresh = |value| vec![T::Param::from_f64(value); case.problem.channels()];
        case.running = Running { mean: fresh(0.0), var: fresh(1.0), seen: Seen::default() };
        for affine in [true, false] {
            let setup = Setup { gamma: affine, beta: affine, ..Setup::training(case.problem) };
            let named = |wrong| format!("values near {size:e}: {wrong}");
            setup.check(operations, &case).map_err(named)?;
            let (forward, backward) =
                setup.both(operations, &case, How::default()).map_err(named)?;
            for (name, values) in [("y", &forward.y), ("dx", &backward.dx)] {
                let wild = values.iter().position(|value| !value.to_f64().is_finite());
                ensure(wild.is_none(), || named(format!("{name} holds what is not finite")))?;
            }
        }
    }
    Ok(())
}

fn sized<T: Element>(layout: Layout, std: f64) -> Case<T> {
    Case::spread(problem(&SHAPE, layout), "sized", Spread { mean: 0.0, std })
}

/// A gamma that takes y beyond the type: infinities of the right sign, no NaN, and right values beside.
pub(super) fn overflow_of_y<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let mut case = sized::<T>(layout, 1.0);
    let largest = match T::DTYPE {
        DType::F64 => 1.5e308,
        DType::F16 => 6e4,
        _ => 3e38,
    };
    case.gamma[0] = T::Param::from_f64(largest);
    case.gamma[2] = T::Param::from_f64(-largest);
    let setup = Setup::training(case.problem);
    let found = setup.forward(operations, &case, How::default())?.y;
    let statistics = Moments::of(&case.problem, &wide(&case.x), None);
    let inv_std = statistics.inv_std(case.eps);
    let bare = Normalizer {
        problem: &case.problem,
        mean: &statistics.mean,
        inv_std: &inv_std,
        gamma: None,
        beta: None,
        residual: None,
        relu: false,
    };
    let x_hat = bare.apply(&wide(&case.x)).x_hat;
    for (index, (cell, x_hat)) in walk(&case.problem).zip(&x_hat).enumerate() {
        let gamma = case.gamma[cell.channel].to_f64();
        let (y, right) = (found[index].to_f64(), x_hat * gamma);
        ensure(!y.is_nan(), || format!("y[{index}] is NaN; {right:e} was due"))?;
        // A tenth beyond the largest value and more, and a tenth of it and less.
        let relative = right.abs() / largest;
        ensure(
            gamma.abs() < 2.0 || relative < 1.25 || y == right.signum() * f64::INFINITY,
            || format!("y[{index}] is {y:e}; expected the infinity of {right:e}"),
        )?;
        ensure(relative > 0.8 || y.is_finite(), || format!("y[{index}] is {y}, not {right:e}"))?;
    }
    Ok(())
}

/// Neighbouring channels of very different size: no channel's statistics see another's.
pub(super) fn channels_of_all_magnitudes<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let mut case = sized::<T>(layout, 1.0);
    let sizes: [f64; 5] = match T::DTYPE {
        DType::F16 => [1.0, 1e3, 1e-3, 6e3, 1e-2],
        _ => [1.0, 1e12, 1e-12, 1e30, 1e-4],
    };
    for (x, cell) in case.x.iter_mut().zip(walk(&case.problem)) {
        *x = T::from_f64(x.to_f64() * sizes[cell.channel]);
    }
    Setup::training(case.problem).check(operations, &case)
}

/// A first value far from all others: what is shifted by the first value must not lose the others.
pub(super) fn outlier_first<T: Element>(operations: &dyn Operations<T>, layout: Layout) -> Verdict {
    let mut case = sized::<T>(layout, 1.0);
    let far = if T::DTYPE == DType::F16 { 100.0 } else { 1e4 };
    for (x, cell) in case.x.iter_mut().zip(walk(&case.problem)) {
        if cell.position == 0 {
            *x = T::from_f64(far);
        }
    }
    Setup::training(case.problem).check(operations, &case)
}
