//! The fused operations composed of the four required ones.
//!
//! Only statistics pass through the host here, G·C values each. What could fail on the host comes before
//! the first write: first `admit`, then everything that takes memory, then the outputs.

use core::borrow::{Borrow, BorrowMut};

use crate::request::{
    Backward, BackwardApply, BackwardReduce, Checked, Correction, FixedStatistics,
    ForwardInference, ForwardTraining, Moments, Normalize, Request, RunningMut,
};
use crate::{
    BatchNormBackend, ChannelMoments, Counts, Dependence, Element, Error, Memory, Problem,
    RunningVariance, inv_std, update_running,
};

pub(crate) fn forward_training<T: Element, B: BatchNormBackend<T> + ?Sized>(
    backend: &B,
    request: Checked<ForwardTraining<'_, T, B::Memory>>,
) -> Result<(), Error> {
    let memory = backend.memory();
    let counts = request.counts();
    let ForwardTraining { problem, io, valid, gamma, beta, eps, epilogue, running, saved, .. } =
        request.admit(backend)?;

    let mut mean = memory.alloc::<f64>(problem.statistics())?;
    let mut m2 = memory.alloc::<f64>(problem.statistics())?;
    let (mean_out, m2_out) = (mean.borrow_mut(), m2.borrow_mut());
    let x = io.input();
    backend.moments(Moments { problem, x, valid, mean: mean_out, m2: m2_out }.check()?)?;

    let host_mean = memory.download(view::<f64, B::Memory>(&mean))?;
    let host_m2 = memory.download(view::<f64, B::Memory>(&m2))?;
    let moments = moments_of(&problem, &counts, &host_mean, &host_m2);
    let host_inv_std: Vec<f64> = moments.iter().map(|moments| moments.inv_std(eps)).collect();
    let inv_std = memory.upload(&host_inv_std)?;
    let merged = merge_groups(&problem, &moments);
    let running = running.map(|running| running.prepare(memory, &merged)).transpose()?;

    let (mean, inv_std) = (view::<_, B::Memory>(&mean), view::<_, B::Memory>(&inv_std));
    backend.normalize(Normalize { problem, io, mean, inv_std, gamma, beta, epilogue }.check()?)?;
    memory.write(&host_mean, saved.mean)?;
    memory.write(&host_inv_std, saved.inv_std)?;
    running.map_or(Ok(()), |update| update.commit(memory))
}

pub(crate) fn forward_inference<T: Element, B: BatchNormBackend<T> + ?Sized>(
    backend: &B,
    request: Checked<ForwardInference<'_, T, B::Memory>>,
) -> Result<(), Error> {
    let memory = backend.memory();
    let ForwardInference { problem, io, statistics, gamma, beta, epilogue, saved } =
        request.admit(backend)?;

    let (host_mean, host_inv_std): (Vec<f64>, Vec<f64>) = match statistics {
        FixedStatistics::Given { mean, inv_std } => {
            (memory.download(mean)?, memory.download(inv_std)?)
        }
        FixedStatistics::Running { mean, var, scale, eps } => {
            let (mean, var) = (memory.download(mean)?, memory.download(var)?);
            let mean = mean.iter().map(|mean| scale * mean.to_f64());
            let inv_std = var.iter().map(|var| inv_std(scale * var.to_f64(), eps));
            (mean.collect(), inv_std.collect())
        }
    };
    let (mean, inv_std) = (memory.upload(&host_mean)?, memory.upload(&host_inv_std)?);
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
    } = request.admit(backend)?;

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
    let gradient =
        |sums| Ok::<_, Error>(parameter_gradient::<T::Param>(&problem, &memory.download(sums)?));
    let dgamma = dgamma.map(|dgamma| Ok((dgamma, gradient(sum_dy_xhat)?))).transpose()?;
    let dbeta = dbeta.map(|dbeta| Ok((dbeta, gradient(sum_dy)?))).transpose()?;
    let correction = match dependence {
        Dependence::Fixed => Correction::Fixed,
        Dependence::Batch => {
            Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts: &counts, valid }
        }
    };
    backend.backward_apply(
        BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction }.check()?,
    )?;
    for (buffer, gradient) in [dgamma, dbeta].into_iter().flatten() {
        memory.write(&gradient, buffer)?;
    }
    Ok(())
}

impl<'a, T: Element, M: Memory> RunningMut<'a, T, M> {
    /// Lets one batch's moments, one for each channel, enter the running statistics, and counts it.
    ///
    /// Reads them from `memory` and writes them back: the form for statistics that were streamed or
    /// synchronised. A fused [`forward_training`](BatchNormBackend::forward_training) on a device
    /// does without the way through the host.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::Momentum`]; [`Error::Counts`] where a channel has no values, and
    /// [`Error::OneValuePerChannel`] where it has one and the unbiased variance is to enter; and what
    /// [`Memory::read`] and [`Memory::write`] return.
    pub fn absorb(self, memory: &M, moments: &[ChannelMoments]) -> Result<(), Error> {
        self.check(moments.len())?;
        if moments.iter().any(|moments| moments.count == 0) {
            let found = moments.iter().map(|moments| moments.count).collect();
            return Err(Error::Counts { found, groups: 1 });
        }
        let single = moments.iter().any(|moments| moments.count == 1);
        if single && self.variance == RunningVariance::Unbiased {
            return Err(Error::OneValuePerChannel { group: 0 });
        }
        self.prepare(memory, moments)?.commit(memory)
    }

    /// Computes the update, and writes nothing yet.
    fn prepare(
        self,
        memory: &M,
        moments: &[ChannelMoments],
    ) -> Result<RunningUpdate<'a, T, M>, Error> {
        let (mut mean, mut var) = (memory.download(self.mean)?, memory.download(self.var)?);
        let blend = self.momentum.blend(self.seen);
        update_running(moments, blend, self.variance, &mut mean, &mut var);
        Ok(RunningUpdate { mean, var, running: self })
    }
}

/// Running statistics as they are to be, and where they go.
struct RunningUpdate<'a, T: Element, M: Memory> {
    mean: Vec<T::Param>,
    var: Vec<T::Param>,
    running: RunningMut<'a, T, M>,
}

impl<T: Element, M: Memory> RunningUpdate<'_, T, M> {
    fn commit(self, memory: &M) -> Result<(), Error> {
        let RunningMut { mean, var, seen, momentum, .. } = self.running;
        memory.write(&self.mean, mean)?;
        memory.write(&self.var, var)?;
        *seen = seen.next::<T::Param>(&momentum);
        Ok(())
    }
}

/// The moments of each group and channel, group by group, from buffers as
/// [`BatchNormBackend::moments`] fills them.
///
/// # Panics
///
/// Where the counts or the lengths are not those of the problem.
#[must_use]
pub fn moments_of(
    problem: &Problem,
    counts: &Counts,
    mean: &[f64],
    m2: &[f64],
) -> Vec<ChannelMoments> {
    assert_eq!([mean.len(), m2.len()], [problem.statistics(); 2], "one per group and channel");
    let count = |index| counts.of(index / problem.channels());
    let values = mean.iter().zip(m2).enumerate();
    values.map(|(i, (&mean, &m2))| ChannelMoments { count: count(i), mean, m2 }).collect()
}

/// The moments of each channel over all groups, merged exactly: what enters the running statistics.
///
/// # Panics
///
/// Where there is not one for each group and channel.
#[must_use]
pub fn merge_groups(problem: &Problem, moments: &[ChannelMoments]) -> Vec<ChannelMoments> {
    assert_eq!(moments.len(), problem.statistics(), "one per group and channel");
    let channels = problem.channels();
    (0..channels).map(|c| moments.iter().skip(c).step_by(channels).copied().sum()).collect()
}

/// dgamma or dbeta, C values, from G·C sums: added over the groups in `f64` and rounded once.
///
/// # Panics
///
/// Where there is not one sum for each group and channel.
#[must_use]
pub fn parameter_gradient<P: Element>(problem: &Problem, sums: &[f64]) -> Vec<P> {
    assert_eq!(sums.len(), problem.statistics(), "one per group and channel");
    let channels = problem.channels();
    let sum = |c| sums.iter().skip(c).step_by(channels).sum::<f64>();
    (0..channels).map(|c| P::from_f64(sum(c))).collect()
}

fn view<E: crate::Scalar, M: Memory>(owned: &M::Owned<E>) -> &M::Buffer<E> {
    owned.borrow()
}
