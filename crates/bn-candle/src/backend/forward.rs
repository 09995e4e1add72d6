//! Forward: the moments of each channel, and the normalisation with them.

use bn_core::{Element, Epilogue, InOut, Moments, Normalize, Scalar};
use candle_core::{Result, Tensor};

use super::axes::{Axes, round, zero_where};
use super::{CandleBuffer, CandleMemory, bits};

/// mean = about + (1/m) Σ (x − about), with about = first + (1/m) Σ (x − first), and M2 = Σ (x − mean)².
///
/// So taken, the mean of a constant channel is that constant. The second round is for a first value far
/// from all others, whose deviations from it are rounded at its size and not at theirs. An infinite mean
/// has no deviations and stays what it is.
pub(super) fn moments<T: Element>(request: Moments<'_, T, CandleMemory>) -> Result<()> {
    let axes = Axes::of(&request.problem);
    let x = axes.tensor(request.x)?;
    let skipped = match request.valid {
        Some(valid) => Some(axes.mask(valid)?.eq(0u8)?),
        None => None,
    };
    let deviations = |from: &Tensor| {
        let deviations = x.broadcast_sub(from)?;
        match &skipped {
            Some(skipped) => zero_where(skipped, &deviations),
            None => Ok(deviations),
        }
    };
    let first = axes.first_values(&x, request.valid)?;
    let counts = axes.counts(&request.counts(), x.device())?;
    let average = |from: &Tensor| axes.sum(&deviations(from)?)?.broadcast_div(&counts);
    let about = (&first + average(&first)?)?;
    let exact = (&about + average(&about)?)?;
    let mean = about.abs()?.eq(f64::INFINITY)?.where_cond(&about, &exact)?;
    let m2 = axes.sum(&deviations(&mean)?.sqr()?)?;
    let (mean, m2) = (CandleBuffer::flat(&mean)?, CandleBuffer::flat(&m2)?);
    (*request.mean, *request.m2) = (mean, m2);
    Ok(())
}

/// y = epilogue((x − mean)·inv_std·gamma + beta).
pub(super) fn normalize<T: Element>(request: Normalize<'_, T, CandleMemory>) -> Result<()> {
    let Normalize { problem, io, mean, inv_std, gamma, beta, epilogue } = request;
    let axes = Axes::of(&problem);
    let mut y = axes
        .tensor(io.input())?
        .broadcast_sub(&axes.statistics(mean)?)?
        .broadcast_mul(&axes.statistics(inv_std)?)?;
    if let Some(gamma) = gamma {
        y = y.broadcast_mul(&axes.parameters(gamma)?)?;
    }
    if let Some(beta) = beta {
        y = y.broadcast_add(&axes.parameters(beta)?)?;
    }
    let (residual, bits) = match epilogue {
        Epilogue::None => return write(io, &round::<T>(&y)?),
        Epilogue::Relu { bits } => (None, bits),
        Epilogue::AddRelu { residual, bits } => (Some(residual), bits),
    };
    if let Some(residual) = residual {
        y = (y + axes.tensor(residual)?)?;
    }
    let y = round::<T>(&relu(&y)?)?;
    if let Some(bits) = bits {
        *bits = bits::pack(&problem, &y)?;
    }
    write(io, &y)
}

/// z where z > 0 or z is NaN, +0 elsewhere: candle's own relu makes a 0 of a NaN.
fn relu(z: &Tensor) -> Result<Tensor> {
    zero_where(&z.le(0f64)?, z)
}

/// Puts a tensor in the place of an operation's output.
pub(super) fn write<E: Scalar>(io: InOut<'_, CandleBuffer<E>>, tensor: &Tensor) -> Result<()> {
    let (InOut::Separate { output, .. } | InOut::InPlace(output)) = io;
    *output = CandleBuffer::flat(tensor)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bn_core::{BatchNormBackend, Layout, Problem, Request};
    use candle_core::{DType, Device};

    use super::*;
    use crate::CandleBackend;

    /// The mean of a channel with an infinity in it is that infinity, and its neighbours' are their own.
    #[test]
    fn an_infinite_mean_stays_infinite() {
        let values = [[1.0, f64::INFINITY], [3.0, 5.0], [5.0, 7.0]];
        for order in [[0, 1, 2], [1, 0, 2]] {
            let rows = order.map(|row: usize| values[row]);
            let x = Tensor::new(&rows, &Device::Cpu).unwrap();
            let problem = Problem::new(x.dims(), Layout::ChannelsLast).unwrap();
            let x = CandleBuffer::<f64>::from_tensor(&x).unwrap();
            let blank = || {
                let zeros = Tensor::zeros(2, DType::F64, &Device::Cpu).unwrap();
                CandleBuffer::<f64>::from_tensor(&zeros).unwrap()
            };
            let (mut mean, mut m2) = (blank(), blank());
            let request = Moments { problem, x: &x, valid: None, mean: &mut mean, m2: &mut m2 };
            let backend = &CandleBackend::default();
            BatchNormBackend::<f64>::moments(backend, request.check().unwrap()).unwrap();
            let mean = mean.tensor().to_vec1::<f64>().unwrap();
            assert_eq!(mean[0], 3.0);
            // From an infinite first value there are no deviations to take the mean of.
            let first_is_finite = rows[0][1].is_finite();
            assert!(mean[1] == f64::INFINITY || (!first_is_finite && mean[1].is_nan()), "{mean:?}");
        }
    }
}
