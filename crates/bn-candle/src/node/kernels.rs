//! The node's forward and backward by a site's kernels.

use std::borrow::BorrowMut;

use bn_core::{
    Backward, BackwardReduce, Checked, Counts, Epilogue, FixedStatistics, ForwardInference,
    ForwardTraining, Gate, InOut, Moments, Momentum, Problem, Request, RunningMut, SavedStatistics,
    SavedTensor, Seen, SingleValue,
};
use candle_core::{Error, Result, Storage, Tensor, WithDType};

use super::moments::BatchMoments;
use super::site::{Buffer, Held, Owned, Site, constant, owned};
use super::value::CandleElement;
use super::{Batch, BatchStatistics, Node, Normalizer, Report, Saved, Tracked, uncentred};

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
    pub(super) dx: Option<Storage>,
    pub(super) dresidual: Option<Storage>,
    pub(super) daffine: Option<[Storage; 2]>,
}

/// What every kind of forward reads and writes.
pub(super) struct Operands<'a, S: Site, T: CandleElement> {
    pub(super) io: InOut<'a, Buffer<S, T>>,
    pub(super) gamma: Option<&'a Buffer<S, T::Param>>,
    pub(super) beta: Option<&'a Buffer<S, T::Param>>,
    pub(super) epilogue: Epilogue<'a, T, S::Memory>,
}

/// y, and what backward or the running statistics need.
pub(super) fn forward<S: Site, T: CandleElement>(
    site: &S,
    node: &Node,
    x: &Buffer<S, T>,
    [gamma, beta]: [Option<&Buffer<S, T::Param>>; 2],
    residual: Option<&Buffer<S, T>>,
) -> Result<(Storage, Option<Saved>)> {
    let problem = *node.order.problem();
    let mut y = site.fresh::<T>(problem.elements())?;
    let records = node.differentiable && (node.relu || residual.is_some());
    let mut bits = records.then(|| site.fresh::<u8>(problem.bits_len())).transpose()?;
    let record = bits.as_mut().map(BorrowMut::borrow_mut);
    let epilogue = match residual {
        Some(residual) => Epilogue::AddRelu { residual, bits: record },
        None if node.relu => Epilogue::Relu { bits: record },
        None => Epilogue::None,
    };
    let operands = Operands { io: InOut::new(x, y.borrow_mut()), gamma, beta, epilogue };
    let saved = match &node.normalizer {
        Normalizer::Batch(batch, tracked) => {
            Some(train(site, problem, *batch, tracked.as_ref(), operands)?)
        }
        Normalizer::BatchUncentred(batch) => {
            Some(uncentred::forward(site, problem, *batch, operands)?)
        }
        Normalizer::Running { mean, var, eps } => infer(site, node, [mean, var], *eps, operands)?,
    };
    let bits = match bits {
        Some(bits) => Some(constant(site.keep(bits)?, problem.bits_len())),
        None => None,
    };
    Ok((site.keep(y)?, saved.map(|saved| Saved { bits, ..saved })))
}

/// Forward with running statistics, which are saved where a backward can follow.
fn infer<S: Site, T: CandleElement>(
    site: &S,
    node: &Node,
    running: [&Tensor; 2],
    eps: f64,
    operands: Operands<'_, S, T>,
) -> Result<Option<Saved>> {
    let problem = *node.order.problem();
    let channels = problem.channels();
    let fresh = || Ok::<_, Error>((site.fresh::<f64>(channels)?, site.fresh::<f64>(channels)?));
    let mut saved = node.differentiable.then(fresh).transpose()?;
    let [running_mean, running_var] = running.map(Held::new);
    let statistics = FixedStatistics::Running {
        mean: &*running_mean.read(site)?,
        var: &*running_var.read(site)?,
        scale: 1.0,
        eps,
    };
    let Operands { io, gamma, beta, epilogue } = operands;
    let request = ForwardInference {
        gamma,
        beta,
        epilogue,
        saved: saved.as_mut().map(|(mean, inv_std)| SavedStatistics {
            mean: mean.borrow_mut(),
            inv_std: inv_std.borrow_mut(),
        }),
        ..ForwardInference::new(problem, io, statistics)
    };
    run(request, |request| site.backend::<T>().forward_inference(request))?;
    let keep = |(mean, inv_std)| {
        Ok(Saved {
            mean: constant(site.keep::<f64>(mean)?, channels),
            inv_std: constant(site.keep::<f64>(inv_std)?, channels),
            bits: None,
            report: Report::None,
        })
    };
    saved.map(keep).transpose()
}

/// Forward with the statistics of the batch, which enters the running ones where they are given.
fn train<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    batch: Batch,
    tracked: Option<&Tracked>,
    operands: Operands<'_, S, T>,
) -> Result<Saved> {
    let channels = problem.channels();
    let (mut mean, mut inv_std) = (site.fresh::<f64>(channels)?, site.fresh::<f64>(channels)?);
    // Running statistics of which nothing is kept are those of the batch: so its variance is had from
    // the same pass, before the layer's own are touched.
    let (mut running, momentum, mut seen) = match tracked {
        Some(Tracked { mean, var, momentum, seen }) => {
            ([Held::new(mean).copy(site)?, Held::new(var).copy(site)?], *momentum, *seen)
        }
        None => {
            let none = [site.zeros::<T::Param>(channels)?, site.zeros(channels)?];
            (none, Momentum::New(1.0), Seen::default())
        }
    };
    let [running_mean, running_var] = &mut running;
    let saved = SavedStatistics { mean: mean.borrow_mut(), inv_std: inv_std.borrow_mut() };
    let request = ForwardTraining {
        gamma: operands.gamma,
        beta: operands.beta,
        eps: batch.eps,
        epilogue: operands.epilogue,
        running: Some(RunningMut {
            mean: running_mean.borrow_mut(),
            var: running_var.borrow_mut(),
            seen: &mut seen,
            momentum,
            variance: batch.variance,
        }),
        single_value: batch.single_value,
        ..ForwardTraining::new(problem, operands.io, saved)
    };
    run(request, |request| site.backend::<T>().forward_training(request))?;
    let mean = constant(site.keep(mean)?, channels);
    let [running_mean, running_var] = running;
    let variance = constant(site.keep(running_var)?, channels);
    let report = match tracked {
        Some(_) => Report::Entered([constant(site.keep(running_mean)?, channels), variance]),
        None => Report::Batch(BatchStatistics { mean: mean.clone(), variance }),
    };
    Ok(Saved { mean, inv_std: constant(site.keep(inv_std)?, channels), bits: None, report })
}

/// The moments of each channel of a tensor.
pub(super) fn moments_of<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    batch: Batch,
    x: &Tensor,
) -> Result<BatchMoments> {
    moments::<S, T>(site, problem, batch, &*Held::new(x).read(site)?)
}

/// The moments of each channel of a batch.
pub(super) fn moments<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    batch: Batch,
    x: &Buffer<S, T>,
) -> Result<BatchMoments> {
    let counts = Counts::from(&problem);
    if let (Some(group), SingleValue::Refuse) = (counts.single_value(), batch.single_value) {
        return Err(Error::wrap(bn_core::Error::OneValuePerChannel { group }));
    }
    let channels = problem.channels();
    let (mut mean, mut m2) = (site.fresh::<f64>(channels)?, site.fresh::<f64>(channels)?);
    let (to_mean, to_m2) = (mean.borrow_mut(), m2.borrow_mut());
    let request = Moments { problem, x, valid: None, mean: to_mean, m2: to_m2 };
    run(request, |request| site.backend::<T>().moments(request))?;
    Ok(BatchMoments {
        count: counts.of(0) as f64,
        mean: constant(site.keep(mean)?, channels),
        m2: constant(site.keep(m2)?, channels),
    })
}

/// What every kind of backward reads.
pub(super) struct Passed<'a, S: Site, T: CandleElement> {
    pub(super) x: &'a Buffer<S, T>,
    pub(super) dy: &'a Buffer<S, T>,
    pub(super) gate: Gate<'a, T, S::Memory>,
    pub(super) gamma: Option<&'a Buffer<S, T::Param>>,
    pub(super) mean: &'a Buffer<S, f64>,
    pub(super) inv_std: &'a Buffer<S, f64>,
}

/// The gradients that are wanted, from one operation; the sums alone where only parameters are.
pub(super) fn backward<S: Site, T: CandleElement>(
    site: &S,
    node: &Node,
    passed: Passed<'_, S, T>,
    wanted: Wanted,
) -> Result<RawGradients> {
    let problem = *node.order.problem();
    match (&node.normalizer, wanted) {
        (_, Wanted { dx: false, dresidual: false, daffine: false }) => Ok(RawGradients::default()),
        (_, Wanted { dx: false, dresidual: false, daffine: true }) => {
            let sums = sums(site, problem, &passed)?;
            Ok(RawGradients {
                daffine: Some(daffine::<S, T>(site, problem, sums)?),
                ..Default::default()
            })
        }
        (Normalizer::BatchUncentred(_), _) => uncentred::backward(site, problem, passed, wanted),
        _ => fused(site, node, passed, wanted),
    }
}

fn fused<S: Site, T: CandleElement>(
    site: &S,
    node: &Node,
    passed: Passed<'_, S, T>,
    wanted: Wanted,
) -> Result<RawGradients> {
    let problem = *node.order.problem();
    let (elements, channels) = (problem.elements(), problem.channels());
    let mut dx = site.fresh::<T>(elements)?;
    let mut dresidual = wanted.dresidual.then(|| site.fresh::<T>(elements)).transpose()?;
    let affine = || -> Result<_> { Ok((site.fresh::<T::Param>(channels)?, site.fresh(channels)?)) };
    let mut daffine = wanted.daffine.then(affine).transpose()?;
    let (dgamma, dbeta) = match &mut daffine {
        Some((dgamma, dbeta)) => (Some(dgamma.borrow_mut()), Some(dbeta.borrow_mut())),
        None => (None, None),
    };
    let Passed { x, dy, gate, gamma, mean, inv_std } = passed;
    let io = InOut::new(dy, dx.borrow_mut());
    let request = Backward {
        dependence: node.dependence(),
        gamma,
        gate,
        dgamma,
        dbeta,
        dresidual: dresidual.as_mut().map(BorrowMut::borrow_mut),
        ..Backward::new(problem, io, SavedTensor::Input(x), mean, inv_std)
    };
    run(request, |request| site.backend::<T>().backward(request))?;
    let keep = |(dgamma, dbeta)| Ok::<_, Error>([site.keep(dgamma)?, site.keep(dbeta)?]);
    Ok(RawGradients {
        dx: wanted.dx.then(|| site.keep(dx)).transpose()?,
        dresidual: dresidual.map(|dresidual| site.keep(dresidual)).transpose()?,
        daffine: daffine.map(keep).transpose()?,
    })
}

/// Σ dy and Σ dy·x̂.
pub(super) fn sums<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    passed: &Passed<'_, S, T>,
) -> Result<[Owned<S, f64>; 2]> {
    let channels = problem.channels();
    let mut sums = [site.fresh(channels)?, site.fresh(channels)?];
    let [sum_dy, sum_dy_xhat] = &mut sums;
    let Passed { x, dy, gate, mean, inv_std, .. } = *passed;
    let request = BackwardReduce {
        problem,
        dy,
        gate,
        saved: SavedTensor::Input(x),
        mean,
        inv_std,
        sum_dy: sum_dy.borrow_mut(),
        sum_dy_xhat: sum_dy_xhat.borrow_mut(),
    };
    run(request, |request| site.backend::<T>().backward_reduce(request))?;
    Ok(sums)
}

/// dgamma and dbeta, of the sums of a batch in one group.
pub(super) fn daffine<S: Site, T: CandleElement>(
    site: &S,
    problem: Problem,
    [sum_dy, sum_dy_xhat]: [Owned<S, f64>; 2],
) -> Result<[Storage; 2]> {
    let rounded = |sums| {
        let sums = constant(site.keep::<f64>(sums)?, problem.channels());
        owned(&sums.to_dtype(<T::Param as WithDType>::DTYPE)?)
    };
    Ok([rounded(sum_dy_xhat)?, rounded(sum_dy)?])
}

/// Checks a request and hands it to an operation of a backend, whose errors become candle's.
pub(super) fn run<R: Request>(
    request: R,
    operation: impl FnOnce(Checked<R>) -> std::result::Result<(), bn_core::Error>,
) -> Result<()> {
    request.check().and_then(operation).map_err(Error::wrap)
}
