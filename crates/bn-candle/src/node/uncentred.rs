//! Normalisation by the mean square alone, of the contract's four required operations.
//!
//! candle_nn calls it `remove_mean: false`: y = gamma·x/sqrt(mean(x²) + eps) + beta. With a mean of 0 it is
//! what [`normalize`](bn_core::BatchNormBackend::normalize) computes, and with Σdy taken as 0
//! its gradient is that of [`backward_apply`](bn_core::BatchNormBackend::backward_apply).

use bn_core::{
    BackwardApply, Correction, Counts, Error, Gate, HostMemory, InOut, Normalize, Request,
};

use super::cpu::{Operands, RawGradients, Wanted, backend, daffine, moments, sums};
use super::fresh::zeros;
use super::{Batch, CpuElement, Node, Saved};

/// Forward; the running variance takes mean(x²), by m/(m − 1) where it is unbiased.
pub(super) fn forward<T: CpuElement>(
    batch: Batch,
    operands: Operands<'_, T>,
    node: &Node,
) -> Result<Saved, Error> {
    let problem = *node.order.problem();
    let moments = moments(problem, batch, operands.io.input(), false)?;
    let mean = vec![0.0; problem.channels()];
    let inv_std: Vec<f64> = moments.iter().map(|moments| moments.inv_std(batch.eps)).collect();
    let request = Normalize {
        problem,
        io: operands.io,
        mean: &mean[..],
        inv_std: &inv_std[..],
        gamma: operands.gamma,
        beta: operands.beta,
        epilogue: operands.epilogue,
    };
    backend::<T>().normalize(request.check()?)?;
    let variance = moments.iter().map(|moments| batch.variance.of(moments)).collect();
    Ok(Saved { mean, inv_std, bits: Vec::new(), variance })
}

/// Backward: dx = (g − x̂·mean(g·x̂))·inv_std.
pub(super) fn backward<T: CpuElement>(
    node: &Node,
    saved: &Saved,
    x: &[T],
    dy: &[T],
    gate: Gate<'_, T, HostMemory>,
    gamma: Option<&[T::Param]>,
    wanted: Wanted,
) -> Result<RawGradients, Error> {
    let problem = *node.order.problem();
    let [sum_dy, sum_dy_xhat] = sums(node, saved, x, dy, gate)?;
    let none = vec![0.0; problem.channels()];
    let mut dx = zeros::<T>(problem.elements());
    let mut dresidual = wanted.dresidual.then(|| zeros::<T>(problem.elements()));
    let request = BackwardApply {
        problem,
        io: InOut::new(dy, &mut dx[..]),
        gate,
        dresidual: dresidual.as_deref_mut(),
        inv_std: &saved.inv_std[..],
        gamma,
        correction: Correction::Batch {
            saved: bn_core::SavedTensor::Input(x),
            mean: &saved.mean[..],
            sum_dy: &none[..],
            sum_dy_xhat: &sum_dy_xhat[..],
            counts: &Counts::from(&problem),
            valid: None,
        },
    };
    backend::<T>().backward_apply(request.check()?)?;
    Ok(RawGradients {
        dx: wanted.dx.then(|| T::to_cpu_storage_owned(dx)),
        dresidual: dresidual.map(T::to_cpu_storage_owned),
        daffine: wanted.daffine.then(|| daffine::<T>(node, &sum_dy, &sum_dy_xhat)),
    })
}
