//! Backward: which kernels an operation queues, on which buffers.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, Correction, Counts, Dependence, Element, Error, Gate,
    Problem, SavedTensor,
};

use crate::arguments::GradientArguments;
use crate::backend::CudaBackend;
use crate::forward::mask;
use crate::launch::Launcher;
use crate::machine::Machine;
use crate::memory::{Buffer, DeviceMemory, ReadWrite, ValuesMut};
use crate::operands::{self, Passed, SUMS, Saved, Through};
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

/// Queues the counts of groups that differ, for a gradient that is queued later.
fn queue_counts<M: Machine>(
    launcher: &Launcher<'_, M>,
    counts: &[f64],
    mut place: ValuesMut<'_, f64>,
    gradient: &mut GradientArguments,
) -> Result<(), Error> {
    gradient.counts = place.of(counts.len());
    launcher.store_numbers(counts, place)
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
        let (dy, passed, saved) = (dy.values(), passed(&gate), saved_tensor(saved));
        let sums = operands::sums(&plan, dy, passed, saved, [mean.values(), inv_std.values()]);
        let to = [&mut sum_dy.values_mut(), &mut sum_dy_xhat.values_mut()];
        let none: [Option<&mut ValuesMut<'_, T::Param>>; 2] = [None, None];
        let finish = operands::finish_sums(&plan, Some(to), none);
        self.with_workspace(SUMS * plan.partials(), |mut partials| {
            launcher.sums::<T>(&plan, sums, finish, &mut partials)
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
        let through = Through {
            saved: saved_tensor(saved),
            mean: mean.values(),
            sums: Some([sum_dy.values(), sum_dy_xhat.values()]),
            count: counts.of(0) as f64,
            mask: mask(valid),
        };
        let through = Some(through);
        let mut gradient =
            operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, through);
        let Some(counts) = uneven(&problem, counts) else {
            return launcher.gradient::<T>(&plan, &gradient);
        };
        self.with_workspace(counts.len(), |place| {
            queue_counts(&launcher, &counts, place, &mut gradient)?;
            launcher.gradient::<T>(&plan, &gradient)
        })
    }

    /// One launch where a cluster keeps a channel on the chip; else parts, channels with dgamma and dbeta, then one
    /// pass. Without anything that needs the sums, the pass alone.
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
        let mut gradients =
            [dgamma, dbeta].map(|gradient| gradient.map(|values| values.values_mut()));
        let (mean, inv_std) = (mean.values(), inv_std.values());
        let gamma = gamma.map(|gamma| gamma.values());
        let is_batch = dependence == Dependence::Batch;
        let has_sums = is_batch || gradients.iter().any(Option::is_some);
        let sums = operands::sums(&plan, io.input(), passed, saved, [mean, inv_std]);
        let mut finish =
            operands::finish_sums(&plan, None, gradients.each_mut().map(Option::as_mut));
        let through = is_batch.then(|| Through {
            saved,
            mean,
            sums: None,
            count: counts.of(0) as f64,
            mask: mask(valid),
        });
        let mut gradient =
            operands::gradient(&plan, io, passed, dresidual, inv_std, gamma, through);
        if !has_sums {
            return launcher.gradient::<T>(&plan, &gradient);
        }
        if is_batch
            && let Some(done) = launcher.differentiate_at_once::<T>(&plan, sums, finish, gradient)
        {
            return done;
        }

        let uneven = uneven(&problem, &counts).filter(|_| is_batch);
        let (of_parts, of_sums) = (SUMS * plan.partials(), problem.statistics());
        let of_counts = uneven.as_ref().map_or(0, Vec::len);
        self.with_workspace(of_parts + 2 * of_sums + of_counts, |workspace| {
            let (mut partials, rest) = workspace.split_at(of_parts);
            let (sum_dy, rest) = rest.split_at(of_sums);
            let (sum_dy_xhat, place) = rest.split_at(of_sums);
            operands::of_sums(&plan, [sum_dy, sum_dy_xhat], &mut finish, &mut gradient);
            if let Some(counts) = uneven {
                queue_counts(&launcher, &counts, place, &mut gradient)?;
            }
            launcher.sums::<T>(&plan, sums, finish, &mut partials)?;
            launcher.gradient::<T>(&plan, &gradient)
        })
    }
}
