//! Backward: which kernels an operation queues, on which buffers.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, Correction, Counts, Dependence, Element, Error, Gate,
    Problem, SavedTensor,
};

use crate::backend::CudaBackend;
use crate::forward::mask;
use crate::launch::Launcher;
use crate::machine::Machine;
use crate::memory::{Buffer, DeviceMemory, ReadWrite, ValuesMut};
use crate::operands::{self, Divisors, Passed, SUMS, Saved, Through};
use crate::plan::Plan;

fn passed<'a, T: Element, M: Machine>(gate: &Gate<'a, T, DeviceMemory<M>>) -> Passed<'a, T> {
    match *gate {
        Gate::Open => Passed::All,
        Gate::Output(y) => Passed::Output(y.values()),
        Gate::Bits(bits) => Passed::Bits(bits.values()),
    }
}

fn saved_tensor<'a, T: Element, M: Machine>(saved: SavedTensor<'a, Buffer<T, M>>) -> Saved<'a, T> {
    let is_normalized = matches!(saved, SavedTensor::Normalized(_));
    Saved { values: saved.buffer().values(), is_normalized }
}

/// The counts of the groups, where they differ.
fn uneven(problem: &Problem, counts: &Counts) -> Option<Vec<f64>> {
    let first = counts.of(0);
    let groups = 0..problem.groups();
    let differ = groups.clone().any(|group| counts.of(group) != first);
    differ.then(|| groups.map(|group| counts.of(group) as f64).collect())
}

/// Queues the counts where they differ, into as many doubles.
fn divisors<'a, M: Machine>(
    launcher: &Launcher<'_, M>,
    counts: &Counts,
    uneven: Option<&[f64]>,
    place: &'a mut ValuesMut<'_, f64>,
) -> Result<Divisors<'a>, Error> {
    match uneven {
        None => Ok(Divisors::Uniform(counts.of(0) as f64)),
        Some(counts) => {
            launcher.store_numbers(counts, place.reborrow())?;
            Ok(Divisors::PerGroup(place.as_values()))
        }
    }
}

impl<M: Machine> CudaBackend<M> {
    /// Parts, then channels.
    pub(crate) fn take_sums<T: Element>(
        &self,
        request: BackwardReduce<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat } =
            request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        let doubles = SUMS * plan.partials();
        self.with_workspace(doubles, |workspace| {
            let (mut partials, _) = workspace.values_mut().split_at(doubles);
            let statistics = [mean.values(), inv_std.values()];
            let (passed, saved) = (passed(&gate), saved_tensor(saved));
            let dy = dy.values();
            let sums = operands::sums(&plan, dy, passed, saved, statistics, &mut partials);
            let to = [&mut sum_dy.values_mut(), &mut sum_dy_xhat.values_mut()];
            let none: [Option<ValuesMut<'_, T::Param>>; 2] = [None, None];
            let finish = operands::finish_sums(&plan, partials.as_values(), to, none);
            launcher.sums::<T>(&plan, &sums, &finish)
        })
    }

    /// One pass.
    pub(crate) fn write_gradient<T: Element>(
        &self,
        request: BackwardApply<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
        let BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction } = request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        let (io, passed) = (ReadWrite::new(io), passed(&gate));
        let dresidual = dresidual.map(|dresidual| dresidual.values_mut());
        let (inv_std, gamma) = (inv_std.values(), gamma.map(|gamma| gamma.values()));
        let Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } = correction
        else {
            let gradient = operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, None);
            return launcher.gradient::<T>(&plan, &gradient);
        };
        let uneven = uneven(&problem, counts);
        let doubles = uneven.as_ref().map_or(0, Vec::len);
        self.with_workspace(doubles, |workspace| {
            let (mut place, _) = workspace.values_mut().split_at(doubles);
            let through = Through {
                saved: saved_tensor(saved),
                mean: mean.values(),
                sum_dy: sum_dy.values(),
                sum_dy_xhat: sum_dy_xhat.values(),
                counts: divisors(&launcher, counts, uneven.as_deref(), &mut place)?,
                mask: mask(valid),
            };
            let through = Some(through);
            let gradient =
                operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, through);
            launcher.gradient::<T>(&plan, &gradient)
        })
    }

    /// Parts, channels with dgamma and dbeta, then one pass. Without anything that needs the sums, the pass alone.
    pub(crate) fn differentiate<T: Element>(
        &self,
        request: Backward<'_, T, DeviceMemory<M>>,
    ) -> Result<(), Error> {
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
        } = request;
        let (plan, launcher) = (Plan::new(&problem, T::DTYPE), self.launcher());
        let (io, passed, saved) = (ReadWrite::new(io), passed(&gate), saved_tensor(saved));
        let dresidual = dresidual.map(|dresidual| dresidual.values_mut());
        let gradients = [dgamma, dbeta].map(|gradient| gradient.map(|values| values.values_mut()));
        let (mean, inv_std) = (mean.values(), inv_std.values());
        let gamma = gamma.map(|gamma| gamma.values());
        let is_batch = dependence == Dependence::Batch;
        if !is_batch && gradients.iter().all(Option::is_none) {
            let gradient = operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, None);
            return launcher.gradient::<T>(&plan, &gradient);
        }

        let uneven = uneven(&problem, &counts).filter(|_| is_batch);
        let (of_parts, of_sums) = (SUMS * plan.partials(), problem.statistics());
        let of_counts = uneven.as_ref().map_or(0, Vec::len);
        let doubles = of_parts + 2 * of_sums + of_counts;
        self.with_workspace(doubles, |workspace| {
            let (mut partials, rest) = workspace.values_mut().split_at(of_parts);
            let (mut sum_dy, rest) = rest.split_at(of_sums);
            let (mut sum_dy_xhat, rest) = rest.split_at(of_sums);
            let (mut place, _) = rest.split_at(of_counts);
            let (dy, statistics) = (io.input(), [mean, inv_std]);
            let sums = operands::sums(&plan, dy, passed, saved, statistics, &mut partials);
            let to = [&mut sum_dy, &mut sum_dy_xhat];
            let finish = operands::finish_sums(&plan, partials.as_values(), to, gradients);
            let through = match dependence {
                Dependence::Fixed => None,
                Dependence::Batch => Some(Through {
                    saved,
                    mean,
                    sum_dy: sum_dy.as_values(),
                    sum_dy_xhat: sum_dy_xhat.as_values(),
                    counts: divisors(&launcher, &counts, uneven.as_deref(), &mut place)?,
                    mask: mask(valid),
                }),
            };
            let gradient =
                operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, through);
            launcher.sums::<T>(&plan, &sums, &finish)?;
            launcher.gradient::<T>(&plan, &gradient)
        })
    }
}
