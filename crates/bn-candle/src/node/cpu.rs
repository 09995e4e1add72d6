//! The node on the CPU: the fastest CPU backend of the workspace on candle's own storage.

use std::sync::LazyLock;

use bn_core::{
    Backward, BackwardReduce, ChannelMoments, Counts, Epilogue, Error, FixedStatistics,
    ForwardInference, ForwardTraining, Gate, HostBackend, HostMemory, InOut, Moments, Momentum,
    Problem, Request, RunningMut, SavedStatistics, Seen, SingleValue, moments_of,
    parameter_gradient,
};
use bn_rayon::RayonBackend;
use candle_core::{CpuStorage, WithDType};

use super::fresh::zeros;
use super::{Batch, CpuElement, Node, Normalizer, Saved, uncentred};

/// The gradients that candle tracks.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) dx: bool,
    pub(super) dresidual: bool,
    pub(super) daffine: bool,
}

/// The gradients as the kernels leave them.
#[derive(Default)]
pub(super) struct RawGradients {
    pub(super) dx: Option<CpuStorage>,
    pub(super) dresidual: Option<CpuStorage>,
    pub(super) daffine: Option<[CpuStorage; 2]>,
}

/// The backend that every operation of the layer runs on.
pub(super) fn backend<T: CpuElement>() -> &'static HostBackend<T> {
    static BACKEND: LazyLock<RayonBackend> = LazyLock::new(RayonBackend::new);
    &*BACKEND
}

/// y, and what backward needs.
pub(super) fn forward<T: CpuElement>(
    node: &Node,
    x: &[T],
    gamma: Option<&[T::Param]>,
    beta: Option<&[T::Param]>,
    residual: Option<&[T]>,
) -> Result<(CpuStorage, Saved), Error> {
    let problem = *node.order.problem();
    let mut y = zeros::<T>(problem.elements());
    let mut bits = if node.differentiable && (node.relu || residual.is_some()) {
        vec![0; problem.bits_len()]
    } else {
        Vec::new()
    };
    let record = (!bits.is_empty()).then_some(&mut bits[..]);
    let epilogue: Epilogue<'_, T, HostMemory> = match residual {
        Some(residual) => Epilogue::AddRelu { residual, bits: record },
        None if node.relu => Epilogue::Relu { bits: record },
        None => Epilogue::None,
    };
    let io = InOut::new(x, &mut y[..]);
    let saved = match &node.normalizer {
        Normalizer::Batch(batch) => train(*batch, Operands { io, gamma, beta, epilogue }, node)?,
        Normalizer::BatchUncentred(batch) => {
            uncentred::forward(*batch, Operands { io, gamma, beta, epilogue }, node)?
        }
        Normalizer::Fixed { mean, inv_std } => {
            let statistics = FixedStatistics::Given { mean: &mean[..], inv_std: &inv_std[..] };
            let inference = ForwardInference::new(problem, io, statistics);
            let request = ForwardInference { gamma, beta, epilogue, ..inference };
            backend::<T>().forward_inference(request.check()?)?;
            let (mean, inv_std) = (mean.clone(), inv_std.clone());
            Saved { mean, inv_std, bits: Vec::new(), variance: Vec::new() }
        }
    };
    Ok((T::to_cpu_storage_owned(y), Saved { bits, ..saved }))
}

/// What every kind of forward reads and writes.
pub(super) struct Operands<'a, T: CpuElement> {
    pub(super) io: InOut<'a, [T]>,
    pub(super) gamma: Option<&'a [T::Param]>,
    pub(super) beta: Option<&'a [T::Param]>,
    pub(super) epilogue: Epilogue<'a, T, HostMemory>,
}

/// Forward with the statistics of the batch.
fn train<T: CpuElement>(
    batch: Batch,
    operands: Operands<'_, T>,
    node: &Node,
) -> Result<Saved, Error> {
    let problem = *node.order.problem();
    let channels = problem.channels();
    let (mut mean, mut inv_std) = (vec![0.0; channels], vec![0.0; channels]);
    // Running statistics of which nothing is kept are those of the batch: so its variance is had from
    // the same pass, before the layer's own are touched.
    let mut reported = (zeros::<T::Param>(channels), zeros::<T::Param>(channels));
    let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
    let request = ForwardTraining {
        gamma: operands.gamma,
        beta: operands.beta,
        eps: batch.eps,
        epilogue: operands.epilogue,
        running: Some(RunningMut {
            mean: &mut reported.0[..],
            var: &mut reported.1[..],
            seen: &mut Seen::default(),
            momentum: Momentum::New(1.0),
            variance: batch.variance,
        }),
        single_value: batch.single_value,
        ..ForwardTraining::new(problem, operands.io, saved)
    };
    backend::<T>().forward_training(request.check()?)?;
    let variance = reported.1.iter().map(|&variance| bn_core::Element::to_f64(variance)).collect();
    Ok(Saved { mean, inv_std, bits: Vec::new(), variance })
}

/// The moments of each channel of a batch, about its mean or about 0.
pub(super) fn moments<T: CpuElement>(
    problem: Problem,
    batch: Batch,
    x: &[T],
    centred: bool,
) -> Result<Vec<ChannelMoments>, Error> {
    let counts = Counts::from(&problem);
    if let (Some(group), SingleValue::Refuse) = (counts.single_value(), batch.single_value) {
        return Err(Error::OneValuePerChannel { group });
    }
    let (mut mean, mut m2) = (vec![0.0; problem.channels()], vec![0.0; problem.channels()]);
    let request = Moments { problem, x, valid: None, mean: &mut mean[..], m2: &mut m2[..] };
    backend::<T>().moments(request.check()?)?;
    let about_mean = moments_of(&problem, &counts, &mean, &m2);
    if centred {
        return Ok(about_mean);
    }
    let about_zero = |ChannelMoments { count, mean, m2 }| ChannelMoments {
        count,
        mean: 0.0,
        m2: m2 + count as f64 * mean * mean,
    };
    Ok(about_mean.into_iter().map(about_zero).collect())
}

/// The gradients that are wanted, from one kernel; the sums alone where only parameters are.
pub(super) fn backward<T: CpuElement>(
    node: &Node,
    saved: &Saved,
    x: &[T],
    dy: &[T],
    gamma: Option<&[T::Param]>,
    wanted: Wanted,
) -> Result<RawGradients, Error> {
    let gate: Gate<'_, T, HostMemory> =
        if saved.bits.is_empty() { Gate::Open } else { Gate::Bits(&saved.bits[..]) };
    match (&node.normalizer, wanted) {
        (_, Wanted { dx: false, dresidual: false, daffine: false }) => Ok(RawGradients::default()),
        (_, Wanted { dx: false, dresidual: false, daffine: true }) => {
            sums(node, saved, x, dy, gate).map(|[sum_dy, sum_dy_xhat]| RawGradients {
                daffine: Some(daffine::<T>(node, &sum_dy, &sum_dy_xhat)),
                ..RawGradients::default()
            })
        }
        (Normalizer::BatchUncentred(_), _) => {
            uncentred::backward(node, saved, x, dy, gate, gamma, wanted)
        }
        _ => fused(node, saved, x, dy, gate, gamma, wanted),
    }
}

fn fused<T: CpuElement>(
    node: &Node,
    saved: &Saved,
    x: &[T],
    dy: &[T],
    gate: Gate<'_, T, HostMemory>,
    gamma: Option<&[T::Param]>,
    wanted: Wanted,
) -> Result<RawGradients, Error> {
    let problem = *node.order.problem();
    let mut dx = zeros::<T>(problem.elements());
    let mut dresidual = wanted.dresidual.then(|| zeros::<T>(problem.elements()));
    let mut daffine = wanted
        .daffine
        .then(|| [zeros::<T::Param>(problem.channels()), zeros::<T::Param>(problem.channels())]);
    let (dgamma, dbeta) = match &mut daffine {
        Some([dgamma, dbeta]) => (Some(&mut dgamma[..]), Some(&mut dbeta[..])),
        None => (None, None),
    };
    let x = bn_core::SavedTensor::Input(x);
    let io = InOut::new(dy, &mut dx[..]);
    let request = Backward {
        dependence: node.dependence(),
        gamma,
        gate,
        dgamma,
        dbeta,
        dresidual: dresidual.as_deref_mut(),
        ..Backward::new(problem, io, x, &saved.mean[..], &saved.inv_std[..])
    };
    backend::<T>().backward(request.check()?)?;
    Ok(RawGradients {
        dx: wanted.dx.then(|| T::to_cpu_storage_owned(dx)),
        dresidual: dresidual.map(T::to_cpu_storage_owned),
        daffine: daffine.map(|daffine| daffine.map(<T::Param>::to_cpu_storage_owned)),
    })
}

/// Σ dy and Σ dy·x̂.
pub(super) fn sums<T: CpuElement>(
    node: &Node,
    saved: &Saved,
    x: &[T],
    dy: &[T],
    gate: Gate<'_, T, HostMemory>,
) -> Result<[Vec<f64>; 2], Error> {
    let problem = *node.order.problem();
    let mut sums = [vec![0.0; problem.channels()], vec![0.0; problem.channels()]];
    let [sum_dy, sum_dy_xhat] = &mut sums;
    let request = BackwardReduce {
        problem,
        dy,
        gate,
        saved: bn_core::SavedTensor::Input(x),
        mean: &saved.mean[..],
        inv_std: &saved.inv_std[..],
        sum_dy: &mut sum_dy[..],
        sum_dy_xhat: &mut sum_dy_xhat[..],
    };
    backend::<T>().backward_reduce(request.check()?)?;
    Ok(sums)
}

/// dgamma and dbeta.
pub(super) fn daffine<T: CpuElement>(
    node: &Node,
    sum_dy: &[f64],
    sum_dy_xhat: &[f64],
) -> [CpuStorage; 2] {
    [sum_dy_xhat, sum_dy].map(|sums| {
        <T::Param>::to_cpu_storage_owned(parameter_gradient(node.order.problem(), sums))
    })
}
