//! Normalisation by the mean square alone, of the contract's four required operations.
//!
//! candle_nn calls it `remove_mean: false`: y = gamma·x/sqrt(mean(x²) + eps) + beta. With a mean of 0 it is
//! what [`normalize`](bn_core::BatchNormBackend::normalize) computes, and with Σdy taken as 0
//! its gradient is that of [`backward_apply`](bn_core::BatchNormBackend::backward_apply).

use std::borrow::{Borrow, BorrowMut};

use bn_core::{BackwardApply, Correction, Counts, InOut, Normalize, Problem, SavedTensor};
use candle_core::Result;

use super::kernels::{Operands, Passed, RawGradients, Wanted, daffine, moments, run, sums};
use super::site::{Held, Site};
use super::value::CandleElement;
use super::{Batch, BatchStatistics, Report, Saved};

/// Forward; the running variance takes mean(x²), by m/(m − 1) where it is unbiased.
pub(super) fn forward<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    batch: Batch,
    operands: Operands<'_, S, T>,
) -> Result<Saved> {
    let about_mean = moments::<S, T>(site, problem, batch, operands.io.input())?;
    let moments = about_mean.about_zero()?;
    let inv_std = moments.inv_std(batch.eps)?;
    let (held_mean, held_inv_std) = (Held::new(&moments.mean), Held::new(&inv_std));
    let request = Normalize {
        problem,
        io: operands.io,
        mean: &*held_mean.read(site)?,
        inv_std: &*held_inv_std.read(site)?,
        gamma: operands.gamma,
        beta: operands.beta,
        epilogue: operands.epilogue,
    };
    run(request, |request| site.backend::<T>().normalize(request))?;
    let variance = moments.variance(batch.variance)?;
    let mean = moments.mean.clone();
    let report = Report::Batch(BatchStatistics { mean: mean.clone(), variance });
    Ok(Saved { mean, inv_std: inv_std.clone(), bits: None, report })
}

/// Backward: dx = (g − x̂·mean(g·x̂))·inv_std.
pub(super) fn backward<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    passed: Passed<'_, S, T>,
    wanted: Wanted,
) -> Result<RawGradients> {
    let [sum_dy, sum_dy_xhat] = sums(site, problem, &passed)?;
    let none = site.zeros::<f64>(problem.channels())?;
    let mut dx = site.fresh::<T>(problem.elements())?;
    let elements = problem.elements();
    let mut dresidual = wanted.dresidual.then(|| site.fresh::<T>(elements)).transpose()?;
    let Passed { x, dy, gate, gamma, mean, inv_std } = passed;
    let request = BackwardApply {
        problem,
        io: InOut::new(dy, dx.borrow_mut()),
        gate,
        dresidual: dresidual.as_mut().map(BorrowMut::borrow_mut),
        inv_std,
        gamma,
        correction: Correction::Batch {
            saved: SavedTensor::Input(x),
            mean,
            sum_dy: none.borrow(),
            sum_dy_xhat: sum_dy_xhat.borrow(),
            counts: &Counts::from(&problem),
            valid: None,
        },
    };
    run(request, |request| site.backend::<T>().backward_apply(request))?;
    let affine = || daffine::<S, T>(site, problem, [sum_dy, sum_dy_xhat]);
    Ok(RawGradients {
        dx: wanted.dx.then(|| site.keep(dx)).transpose()?,
        dresidual: dresidual.map(|dresidual| site.keep(dresidual)).transpose()?,
        daffine: wanted.daffine.then(affine).transpose()?,
    })
}
