//! Backward: the two sums of each channel, and dx from them.

use bn_core::{BackwardApply, BackwardReduce, Correction, Element, Gate, SavedTensor};
use candle_core::{Result, Tensor};

use super::axes::{Axes, round, zero_where};
use super::forward::write;
use super::{CandleBuffer, CandleMemory, bits};

/// Σ dy and Σ dy·x̂.
pub(super) fn reduce<T: Element>(request: BackwardReduce<'_, T, CandleMemory>) -> Result<()> {
    let axes = Axes::of(&request.problem);
    let dy = axes.tensor(request.dy)?;
    let dy = match closed(&request.problem, &axes, &request.gate)? {
        Some(closed) => zero_where(&closed, &dy)?,
        None => dy,
    };
    let x_hat = normalized(&axes, request.saved, request.mean, request.inv_std)?;
    let sum_dy = CandleBuffer::flat(&axes.sum(&dy)?)?;
    let sum_dy_xhat = CandleBuffer::flat(&axes.sum(&(dy * x_hat)?)?)?;
    (*request.sum_dy, *request.sum_dy_xhat) = (sum_dy, sum_dy_xhat);
    Ok(())
}

/// dx = gamma·inv_std·(dy − mean(dy) − x̂·mean(dy·x̂)), or gamma·inv_std·dy where statistics were fixed.
pub(super) fn apply<T: Element>(request: BackwardApply<'_, T, CandleMemory>) -> Result<()> {
    let BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction } = request;
    let axes = Axes::of(&problem);
    let dy = axes.elements(io.input())?;
    let dy = match closed(&problem, &axes, &gate)? {
        Some(closed) => zero_where(&closed, &dy)?,
        None => dy,
    };
    let mut dx = dy.to_dtype(candle_core::DType::F64)?;
    if let Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } = correction {
        let counts = axes.counts(counts, dx.device())?;
        let mean_dy = axes.statistics(sum_dy)?.broadcast_div(&counts)?;
        let mean_dy_xhat = axes.statistics(sum_dy_xhat)?.broadcast_div(&counts)?;
        let through_statistics = normalized(&axes, saved, mean, inv_std)?
            .broadcast_mul(&mean_dy_xhat)?
            .broadcast_add(&mean_dy)?;
        dx = match valid {
            Some(valid) => (dx - zero_where(&axes.mask(valid)?.eq(0u8)?, &through_statistics)?)?,
            None => (dx - through_statistics)?,
        };
    }
    let mut scale = axes.statistics(inv_std)?;
    if let Some(gamma) = gamma {
        scale = scale.broadcast_mul(&axes.parameters(gamma)?)?;
    }
    let dx = round::<T>(&dx.broadcast_mul(&scale)?)?;
    if let Some(dresidual) = dresidual {
        *dresidual = CandleBuffer::flat(&dy)?;
    }
    write(io, &dx)
}

/// x̂, from x or as it was saved.
fn normalized<T: Element>(
    axes: &Axes,
    saved: SavedTensor<'_, CandleBuffer<T>>,
    mean: &CandleBuffer<f64>,
    inv_std: &CandleBuffer<f64>,
) -> Result<Tensor> {
    match saved {
        SavedTensor::Normalized(x_hat) => axes.tensor(x_hat),
        SavedTensor::Input(x) => axes
            .tensor(x)?
            .broadcast_sub(&axes.statistics(mean)?)?
            .broadcast_mul(&axes.statistics(inv_std)?),
    }
}

/// 1 where a fused ReLU let nothing through; nothing where there was none.
fn closed<T: Element>(
    problem: &bn_core::Problem,
    axes: &Axes,
    gate: &Gate<'_, T, CandleMemory>,
) -> Result<Option<Tensor>> {
    match gate {
        Gate::Open => Ok(None),
        Gate::Output(y) => axes.tensor(y)?.le(0f64).map(Some),
        Gate::Bits(packed) => {
            let open = bits::unpack(problem, packed)?;
            axes.elements(&open)?.eq(0u8).map(Some)
        }
    }
}
