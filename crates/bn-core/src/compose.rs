//! The fused operations composed of the four required ones.
//!
//! Only statistics pass through the host here, G·C values each. What a backend could refuse is refused
//! before anything is written: first `admit`, then scratch memory, then the outputs.

use core::borrow::{Borrow, BorrowMut};

use crate::request::{
    Backward, BackwardApply, BackwardReduce, Checked, Correction, FixedStatistics,
    ForwardInference, ForwardTraining, Moments, Normalize, Request, RunningMut,
};
use crate::{
    Backend, BatchNormBackend, ChannelMoments, Counts, Dependence, Element, Error, Memory, Problem,
    inv_std, update_running,
};

pub(crate) fn forward_training<T: Element, B: BatchNormBackend<T> + ?Sized>(
    backend: &B,
    request: Checked<ForwardTraining<'_, T, B::Memory>>,
) -> Result<(), Error> {
    admit(backend, &*request)?;
    let memory = backend.memory();
    let counts = request.counts();
    let ForwardTraining { problem, io, valid, gamma, beta, eps, epilogue, running, saved, .. } =
        request.into_inner();

    let mut mean = memory.alloc::<f64>(problem.statistics())?;
    let mut m2 = memory.alloc::<f64>(problem.statistics())?;
    let (mean_out, m2_out) = (mean.borrow_mut(), m2.borrow_mut());
    let x = io.input();
    backend.moments(Moments { problem, x, valid, mean: mean_out, m2: m2_out }.check()?)?;

    let host_mean = memory.to_host(view::<f64, B::Memory>(&mean))?;
    let host_m2 = memory.to_host(view::<f64, B::Memory>(&m2))?;
    let moments = moments_of(&problem, &counts, &host_mean, &host_m2);
    let host_inv_std: Vec<f64> = moments.iter().map(|moments| moments.inv_std(eps)).collect();
    let inv_std = memory.to_owned(&host_inv_std)?;

    let (mean, inv_std) = (view::<_, B::Memory>(&mean), view::<_, B::Memory>(&inv_std));
    backend.normalize(Normalize { problem, io, mean, inv_std, gamma, beta, epilogue }.check()?)?;
    memory.write(&host_mean, saved.mean)?;
    memory.write(&host_inv_std, saved.inv_std)?;
    running.map_or(Ok(()), |running| running.absorb(memory, &merge_groups(&problem, &moments)))
}

pub(crate) fn forward_inference<T: Element, B: BatchNormBackend<T> + ?Sized>(
    backend: &B,
    request: Checked<ForwardInference<'_, T, B::Memory>>,
) -> Result<(), Error> {
    admit(backend, &*request)?;
    let memory = backend.memory();
    let problem = request.effective_problem();
    let ForwardInference { io, statistics, gamma, beta, epilogue, saved, .. } =
        request.into_inner();

    let (host_mean, host_inv_std): (Vec<f64>, Vec<f64>) = match statistics {
        FixedStatistics::Given { mean, inv_std } => {
            (memory.to_host(mean)?, memory.to_host(inv_std)?)
        }
        FixedStatistics::Running { mean, var, scale, eps } => {
            let (mean, var) = (memory.to_host(mean)?, memory.to_host(var)?);
            let mean = mean.iter().map(|mean| scale * mean.to_f64());
            let inv_std = var.iter().map(|var| inv_std(scale * var.to_f64(), eps));
            (mean.collect(), inv_std.collect())
        }
    };
    let (mean, inv_std) = (memory.to_owned(&host_mean)?, memory.to_owned(&host_inv_std)?);
    let (mean, inv_std) = (view::<_, B::Memory>(&mean), view::<_, B::Memory>(&inv_std));
    backend.normalize(Normalize { problem, io, mean, inv_std, gamma, beta, epilogue }.check()?)?;
    saved.map_or(Ok(()), |saved| {
        memory.write(&host_mean, saved.mean)?;
        memory.write(&host_inv_std, saved.inv_std)
    })
}

pub(crate) fn backward<T: Element, B: BatchNormBackend<T> + ?Sized>(
    backend: &B,
    request: Checked<Backward<'_, T, B::Memory>>,
) -> Result<(), Error> {
    admit(backend, &*request)?;
    let memory = backend.memory();
    let counts = request.counts();
    let Backward {
        problem,
        io,
        saved,
        mean,
        inv_std,
        dependence,
        valid,
        gamma,
        gate,
        dgamma,
        dbeta,
        dresidual,
    } = request.into_inner();

    let mut sum_dy = memory.alloc::<f64>(problem.statistics())?;
    let mut sum_dy_xhat = memory.alloc::<f64>(problem.statistics())?;
    if dependence == Dependence::Batch || dgamma.is_some() || dbeta.is_some() {
        let (dy, sum_dy, sum_dy_xhat) = (io.input(), sum_dy.borrow_mut(), sum_dy_xhat.borrow_mut());
        backend.backward_reduce(
            BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat }
                .check()?,
        )?;
    }
    let (sum_dy, sum_dy_xhat) =
        (view::<f64, B::Memory>(&sum_dy), view::<f64, B::Memory>(&sum_dy_xhat));
    let correction = match dependence {
        Dependence::Fixed => Correction::Fixed,
        Dependence::Batch => {
            Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts: &counts, valid }
        }
    };
    backend.backward_apply(
        BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction }.check()?,
    )?;
    for (gradient, sums) in [(dgamma, sum_dy_xhat), (dbeta, sum_dy)] {
        if let Some(gradient) = gradient {
            memory.write(&parameter_gradient(&problem, &memory.to_host(sums)?), gradient)?;
        }
    }
    Ok(())
}

impl<T: Element, M: Memory> RunningMut<'_, T, M> {
    /// Lets one batch's moments, one for each channel, enter the running statistics, and counts it.
    ///
    /// Reads them from `memory` and writes them back: the form for statistics that were streamed or
    /// synchronised. A fused [`forward_training`](BatchNormBackend::forward_training) on a device
    /// does without the way through the host.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::Momentum`], and what [`Memory::read`] and [`Memory::write`] return.
    pub fn absorb(self, memory: &M, moments: &[ChannelMoments]) -> Result<(), Error> {
        crate::request::length(
            "running_mean",
            M::len(self.mean),
            moments.len(),
            "C, one per channel",
        )?;
        crate::request::length(
            "running_var",
            M::len(self.var),
            moments.len(),
            "C, one per channel",
        )?;
        self.momentum.check()?;
        let (mut mean, mut var) = (memory.to_host(self.mean)?, memory.to_host(self.var)?);
        let blend = self.momentum.blend(self.seen);
        update_running(moments.iter().copied(), blend, self.variance, &mut mean, &mut var);
        memory.write(&mean, self.mean)?;
        memory.write(&var, self.var)?;
        *self.seen = self.seen.next::<T::Param>(&self.momentum);
        Ok(())
    }
}

/// The moments of each group and channel, group by group, from buffers as
/// [`BatchNormBackend::moments`] fills them.
///
/// # Panics
///
/// Where the counts are not those of the problem's groups.
#[must_use]
pub fn moments_of(
    problem: &Problem,
    counts: &Counts,
    mean: &[f64],
    m2: &[f64],
) -> Vec<ChannelMoments> {
    let count = |index| counts.of(index / problem.channels());
    let values = mean.iter().zip(m2).enumerate();
    values.map(|(i, (&mean, &m2))| ChannelMoments { count: count(i), mean, m2 }).collect()
}

/// The moments of each channel over all groups, merged exactly: what enters the running statistics.
#[must_use]
pub fn merge_groups(problem: &Problem, moments: &[ChannelMoments]) -> Vec<ChannelMoments> {
    let channels = problem.channels();
    (0..channels).map(|c| moments.iter().skip(c).step_by(channels).copied().sum()).collect()
}

/// dgamma or dbeta, C values, from G·C sums: added over the groups in `f64` and rounded once.
#[must_use]
pub fn parameter_gradient<P: Element>(problem: &Problem, sums: &[f64]) -> Vec<P> {
    let channels = problem.channels();
    let sum = |c| sums.iter().skip(c).step_by(channels).sum::<f64>();
    (0..channels).map(|c| P::from_f64(sum(c))).collect()
}

fn admit<B: Backend + ?Sized>(backend: &B, request: &impl Request) -> Result<(), Error> {
    backend.capabilities().admit(backend.name(), request.needs())
}

fn view<E: crate::Scalar, M: Memory>(owned: &M::Owned<E>) -> &M::Buffer<E> {
    owned.borrow()
}
