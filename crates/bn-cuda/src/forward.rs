//! Forward: which kernels an operation queues, on which buffers.

use bn_core::{
    Backend as _, Element, Epilogue, Error, FixedStatistics, ForwardInference, ForwardTraining,
    Moments, Normalize, ValidPositions,
};

use crate::backend::CudaBackend;
use crate::machine::Machine;
use crate::memory::{DeviceMemory, ReadWrite, Values};
use crate::operands::{self, MOMENTS, Running, Statistics, Tail, Taken};
use crate::plan::Plan;

/// The bytes of a mask.
pub(crate) fn mask<'a, M: Machine>(
    valid: Option<&ValidPositions<'a, DeviceMemory<M>>>,
) -> Option<Values<'a, u8>> {
    valid.map(|valid| valid.mask().values())
}

fn tail<'a, T: Element, M: Machine>(epilogue: Epilogue<'a, T, DeviceMemory<M>>) -> Tail<'a, T> {
    match epilogue {
        Epilogue::None => Tail::None,
        Epilogue::Relu { bits } => Tail::Relu { bits: bits.map(|bits| bits.values_mut()) },
        Epilogue::AddRelu { residual, bits } => {
            Tail::AddRelu { residual: residual.values(), bits: bits.map(|bits| bits.values_mut()) }
        }
    }
}

impl<M: Machine> CudaBackend<M> {
    /// Parts, then channels.
    pub(crate) fn take_moments<T: Element>(
        &self,
        request: Moments<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        let moments = operands::moments(&plan, x.values(), mask(valid));
        let taken = Taken::Moments { mean: mean.values_mut(), m2: m2.values_mut() };
        let finish = operands::finish_moments::<T::Param>(&plan, taken, None);
        self.with_workspace(MOMENTS * plan.partials(), |mut partials| {
            launcher.moments::<T>(&plan, moments, finish, &mut partials)
        })
    }

    /// One pass.
    pub(crate) fn write_output<T: Element>(
        &self,
        request: Normalize<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let Normalize { problem, io, mean, inv_std, gamma, beta, epilogue } = request;
        let plan = Plan::new(&problem, T::DTYPE);
        let statistics = Statistics::Batch { mean: mean.values(), inv_std: inv_std.values() };
        let (gamma, beta) = (gamma.map(|gamma| gamma.values()), beta.map(|beta| beta.values()));
        let (io, tail) = (ReadWrite::new(io), tail(epilogue));
        let normalize = operands::normalize(&plan, io, statistics, gamma, beta, tail);
        self.launcher().normalize::<T>(&plan, &normalize)
    }

    /// One launch where a cluster keeps a channel on the chip; else parts, channels with their running statistics,
    /// then one pass.
    pub(crate) fn train<T: Element>(
        &self,
        request: ForwardTraining<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let ForwardTraining {
            problem, io, valid, gamma, beta, eps, epilogue, running, saved, ..
        } = request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        let io = ReadWrite::new(io);
        let taken = Taken::Normalizer {
            mean: saved.mean.values_mut(),
            inv_std: saved.inv_std.values_mut(),
            eps,
        };
        let (update, seen) = match running {
            None => (None, None),
            Some(running) => {
                let update = Running {
                    mean: running.mean.values_mut(),
                    var: running.var.values_mut(),
                    blend: running.momentum.blend(running.seen),
                    variance: running.variance,
                };
                (Some(update), Some((running.seen, running.momentum)))
            }
        };
        let moments = operands::moments(&plan, io.input(), mask(valid));
        let finish = operands::finish_moments(&plan, taken, update);
        let statistics =
            Statistics::Batch { mean: saved.mean.values(), inv_std: saved.inv_std.values() };
        let (gamma, beta) = (gamma.map(|gamma| gamma.values()), beta.map(|beta| beta.values()));
        let normalize = operands::normalize(&plan, io, statistics, gamma, beta, tail(epilogue));
        match launcher.train_at_once::<T>(&plan, moments, finish, normalize) {
            Some(done) => done?,
            None => self.with_workspace(MOMENTS * plan.partials(), |mut partials| {
                launcher.moments::<T>(&plan, moments, finish, &mut partials)?;
                launcher.normalize::<T>(&plan, &normalize)
            })?,
        }
        if let Some((seen, momentum)) = seen {
            *seen = seen.next::<T::Param>(&momentum);
        }
        Ok(())
    }

    /// One pass, and where the statistics are to be saved, a small one before it.
    pub(crate) fn infer<T: Element>(
        &self,
        request: ForwardInference<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let ForwardInference { problem, io, statistics, gamma, beta, epilogue, saved } = request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        if let Some(saved) = saved {
            match statistics {
                FixedStatistics::Running { mean, var, scale, eps } => launcher.fixed_statistics(
                    problem.channels(),
                    [mean.values(), var.values()],
                    [scale, eps],
                    [saved.mean.values_mut(), saved.inv_std.values_mut()],
                )?,
                FixedStatistics::Given { mean, inv_std } => {
                    self.memory().copy(mean, saved.mean)?;
                    self.memory().copy(inv_std, saved.inv_std)?;
                }
            }
        }
        let statistics = match statistics {
            FixedStatistics::Running { mean, var, scale, eps } => {
                Statistics::Running { mean: mean.values(), var: var.values(), scale, eps }
            }
            FixedStatistics::Given { mean, inv_std } => {
                Statistics::Batch { mean: mean.values(), inv_std: inv_std.values() }
            }
        };
        let (gamma, beta) = (gamma.map(|gamma| gamma.values()), beta.map(|beta| beta.values()));
        let (io, tail) = (ReadWrite::new(io), tail(epilogue));
        let normalize = operands::normalize(&plan, io, statistics, gamma, beta, tail);
        launcher.normalize::<T>(&plan, &normalize)
    }
}
