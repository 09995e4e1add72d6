//! The layers on a backend: Caffe's rules, another arithmetic.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, ChannelMoments, Correction, Dependence, Error,
    FixedStatistics, ForwardInference, ForwardTraining, Gate, HostBackend, InOut, Layout, Moments,
    Momentum, Normalize, Problem, Request as _, RunningMut, RunningVariance, SavedStatistics,
    SavedTensor, Seen, SingleValue, update_running,
};

use super::caffe_order::Dims;
use super::{Real, Statistics};

/// Factor and bias of a Scale, one value per channel.
#[derive(Clone, Copy, Default)]
pub(super) struct Affine<'a, T> {
    pub gamma: Option<&'a [T]>,
    pub beta: Option<&'a [T]>,
}

/// What backward needs.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub dims: Dims,
    /// A copy, so that forward may run in place.
    x: Vec<T>,
    mean: Vec<f64>,
    inv_std: Vec<f64>,
}

impl<T: Real> Kept<T> {
    /// For a forward of this input; without it there can be no backward.
    pub(super) fn new(dims: Dims, x: Option<&[T]>) -> Self {
        let statistics = vec![0.0; dims.1];
        let x = x.map(<[T]>::to_vec).unwrap_or_default();
        Self { dims, x, mean: statistics.clone(), inv_std: statistics }
    }
}

fn problem((n, c, s): Dims) -> Result<Problem, Error> {
    Problem::new(&[n, c, s], Layout::ChannelsFirst)
}

/// Forward with the statistics of the batch, which enter the blobs.
pub(super) fn with_batch<T: Real>(
    backend: &HostBackend<T>,
    kept: &mut Kept<T>,
    eps: f64,
    (fraction, blobs): (f64, &mut Statistics<T>),
    affine: Affine<'_, T>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let problem = problem(kept.dims)?;
    let momentum = Momentum::CaffeSum(fraction);
    let mut seen = Seen { batches: 0, factor: blobs.factor[0].to_f64() };
    if eps > 0.0 && eps.is_finite() && fraction.is_finite() {
        let running = RunningMut {
            mean: &mut blobs.mean[..],
            var: &mut blobs.variance[..],
            seen: &mut seen,
            momentum,
            variance: RunningVariance::Unbiased,
        };
        let saved = SavedStatistics { mean: &mut kept.mean[..], inv_std: &mut kept.inv_std[..] };
        let request = ForwardTraining {
            gamma: affine.gamma,
            beta: affine.beta,
            eps,
            running: Some(running),
            single_value: SingleValue::Allow,
            ..ForwardTraining::new(problem, io, saved)
        };
        backend.forward_training(request.check()?)?;
    } else {
        // Caffe takes any eps; the contract's fused operation takes positive ones. The parts do.
        let mut m2 = vec![0.0; kept.dims.1];
        let (x, mean) = (io.input(), &mut kept.mean[..]);
        backend.moments(Moments { problem, x, valid: None, mean, m2: &mut m2[..] }.check()?)?;
        let count = problem.count();
        let moments: Vec<_> = kept
            .mean
            .iter()
            .zip(&m2)
            .map(|(&mean, &m2)| ChannelMoments { count, mean, m2 })
            .collect();
        for (inv_std, moments) in kept.inv_std.iter_mut().zip(&moments) {
            *inv_std = moments.inv_std(eps);
        }
        normalize(backend, problem, (&kept.mean, &kept.inv_std), affine, io)?;
        update_running(
            &moments,
            momentum.blend(&seen),
            RunningVariance::Unbiased,
            &mut blobs.mean,
            &mut blobs.variance,
        );
        seen = seen.next::<T>(&momentum);
    }
    blobs.factor[0] = T::from_f64(seen.factor);
    Ok(())
}

/// Forward with the stored statistics.
pub(super) fn with_stored<T: Real>(
    backend: &HostBackend<T>,
    kept: &mut Kept<T>,
    eps: f64,
    blobs: &Statistics<T>,
    affine: Affine<'_, T>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let scale =
        Seen { batches: 0, factor: blobs.factor[0].to_f64() }.scale(&Momentum::CaffeSum(0.0));
    for (mean, sum) in kept.mean.iter_mut().zip(&blobs.mean) {
        *mean = sum.to_f64() * scale;
    }
    for (inv_std, sum) in kept.inv_std.iter_mut().zip(&blobs.variance) {
        *inv_std = bn_core::inv_std(sum.to_f64() * scale, eps);
    }
    let statistics = FixedStatistics::Given { mean: &kept.mean[..], inv_std: &kept.inv_std[..] };
    let request = ForwardInference {
        gamma: affine.gamma,
        beta: affine.beta,
        ..ForwardInference::new(problem(kept.dims)?, io, statistics)
    };
    backend.forward_inference(request.check()?)
}

/// dx, and where asked for the gradients of factor and bias, which are written, not added to.
pub(super) fn backward<T: Real>(
    backend: &HostBackend<T>,
    kept: &Kept<T>,
    dependence: Dependence,
    gamma: Option<&[T]>,
    gradients: Option<[&mut [T]; 2]>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let (dgamma, dbeta) = gradients.map(|[dgamma, dbeta]| (dgamma, dbeta)).unzip();
    let saved = SavedTensor::Input(&kept.x[..]);
    let request = Backward {
        dependence,
        gamma,
        dgamma,
        dbeta,
        ..Backward::new(problem(kept.dims)?, io, saved, &kept.mean[..], &kept.inv_std[..])
    };
    backend.backward(request.check()?)
}

fn normalize<T: Real>(
    backend: &HostBackend<T>,
    problem: Problem,
    (mean, inv_std): (&[f64], &[f64]),
    Affine { gamma, beta }: Affine<'_, T>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let epilogue = bn_core::Epilogue::None;
    backend.normalize(Normalize { problem, io, mean, inv_std, gamma, beta, epilogue }.check()?)
}

/// Scale and Bias: a normalisation by mean 0 and deviation 1.
pub(super) fn scale<T: Real>(
    backend: &HostBackend<T>,
    dims: Dims,
    affine: Affine<'_, T>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let (zeros, ones) = (vec![0.0; dims.1], vec![1.0; dims.1]);
    normalize(backend, problem(dims)?, (&zeros, &ones), affine, io)
}

/// Σdy·x and Σdy of each covered value.
pub(super) fn scale_sums<T: Real>(
    backend: &HostBackend<T>,
    dims: Dims,
    dy: &[T],
    x: &[T],
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (zeros, ones) = (vec![0.0; dims.1], vec![1.0; dims.1]);
    let (mut sum_dy, mut sum_dy_x) = (zeros.clone(), zeros.clone());
    let request = BackwardReduce {
        problem: problem(dims)?,
        dy,
        gate: Gate::Open,
        saved: SavedTensor::Input(x),
        mean: &zeros[..],
        inv_std: &ones[..],
        sum_dy: &mut sum_dy[..],
        sum_dy_xhat: &mut sum_dy_x[..],
    };
    backend.backward_reduce(request.check()?)?;
    Ok((sum_dy_x, sum_dy))
}

/// dx = dy·factor.
pub(super) fn scale_input<T: Real>(
    backend: &HostBackend<T>,
    dims: Dims,
    gamma: Option<&[T]>,
    io: InOut<'_, [T]>,
) -> Result<(), Error> {
    let ones = vec![1.0; dims.1];
    let request = BackwardApply {
        problem: problem(dims)?,
        io,
        gate: Gate::Open,
        dresidual: None,
        inv_std: &ones[..],
        gamma,
        correction: Correction::Fixed,
    };
    backend.backward_apply(request.check()?)
}
