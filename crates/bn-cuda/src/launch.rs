//! Launches: one safe wrapper for each kernel.
//!
//! They take a plan and the operands that [`operands`](crate::operands) has checked against it. That is the
//! whole obligation of a launch; each SAFETY comment says for its kernel why it is enough.

use core::ptr::from_ref;

use bn_core::{DType, Element, Error, Layout, Scalar as _};

use crate::arguments::{
    Arguments, DifferentiateArguments, FinishMomentsArguments, FinishSumsArguments,
    FixedStatisticsArguments, GradientArguments, MomentsArguments, NUMBERS, NormalizeArguments,
    Residence, StoreNumbersArguments, SumsArguments, Tensors, TrainArguments,
};
use crate::kernel::{Geometry, Kernel, Operation};
use crate::machine::Machine;
use crate::memory::{Values, ValuesMut};
use crate::operands::{self, DEVIATIONS, MOMENTS, SETTLED_MOMENTS, SETTLED_SUMS, SUMS};
use crate::plan::{self, Plan};

/// Launches kernels on a machine.
pub(crate) struct Launcher<'m, M> {
    pub(crate) machine: &'m M,
    pub(crate) has_clusters: bool,
}

impl<M: Machine> Launcher<'_, M> {
    /// Takes the moments of each part, and merges them.
    pub(crate) fn moments<T: Element>(
        &self,
        plan: &Plan,
        mut moments: MomentsArguments,
        mut finish: FinishMomentsArguments,
        partials: &mut ValuesMut<'_, f64>,
    ) -> Result<(), Error> {
        operands::moments_through(plan, partials, &mut moments, &mut finish);
        let kernel =
            of_layout::<T>(plan, [Operation::MomentsFirst, Operation::MomentsLast], &moments);
        // SAFETY: blocks run over groups · tiles · parts of the plan, which cover x exactly, and each thread
        // drops what lies behind a row or part; a block writes the partials of its own part, of which there
        // are as many as asserted. Shared memory is an item for each column and warp, and a double for each
        // column. The plain kernel gets aligned tensors and no mask.
        unsafe { self.launch(kernel, plan.reducing(DEVIATIONS), &moments)? };
        // SAFETY: the arguments are that kernel's.
        unsafe { self.merge::<T, _>(plan, Operation::FinishMoments, &finish) }
    }

    /// Takes the gradient sums of each part, and merges them.
    pub(crate) fn sums<T: Element>(
        &self,
        plan: &Plan,
        mut sums: SumsArguments,
        mut finish: FinishSumsArguments,
        partials: &mut ValuesMut<'_, f64>,
    ) -> Result<(), Error> {
        operands::sums_through(plan, partials, &mut sums, &mut finish);
        let kernel = of_layout::<T>(plan, [Operation::SumsFirst, Operation::SumsLast], &sums);
        // SAFETY: as for `moments`; the gate has a value for each element or bits_len bytes, statistics are
        // indexed by group and channel.
        unsafe { self.launch(kernel, plan.reducing(SUMS), &sums)? };
        // SAFETY: the arguments are that kernel's.
        unsafe { self.merge::<T, _>(plan, Operation::FinishSums, &finish) }
    }

    /// Merges the parts of each channel.
    ///
    /// # Safety
    ///
    /// `A` must be what the kernels of `operation` take.
    unsafe fn merge<T: Element, A: Arguments>(
        &self,
        plan: &Plan,
        operation: Operation,
        arguments: &A,
    ) -> Result<(), Error> {
        let kernel = Kernel { operation, dtype: T::Param::DTYPE, width: 1, is_plain: true };
        let geometry = plan::merging(plan.problem.channels(), plan.parts());
        // SAFETY: the caller's promise; blocks step through the channels; each reads its channel's partials, as many as asserted, and
        // its first thread alone writes that channel's statistics. Shared memory is a pair for each warp.
        unsafe { self.launch(kernel, geometry, arguments) }
    }

    /// Writes y, and bits where there are any.
    pub(crate) fn normalize<T: Element>(
        &self,
        plan: &Plan,
        arguments: &NormalizeArguments,
    ) -> Result<(), Error> {
        let kernel =
            of_layout::<T>(plan, [Operation::NormalizeFirst, Operation::NormalizeLast], arguments);
        // SAFETY: blocks cover the tensor as in `moments`; each value is read by the thread that writes
        // it, so x and y may be one; a byte of bits is written by one lane, and rows have whole bytes.
        unsafe { self.launch(kernel, plan.writing(), arguments) }
    }

    /// Writes dx, and the residual's gradient where there is one.
    pub(crate) fn gradient<T: Element>(
        &self,
        plan: &Plan,
        arguments: &GradientArguments,
    ) -> Result<(), Error> {
        let kernel =
            of_layout::<T>(plan, [Operation::GradientFirst, Operation::GradientLast], arguments);
        // SAFETY: as for `normalize`; where x is null, neither means, sums nor counts are read.
        unsafe { self.launch(kernel, plan.writing(), arguments) }
    }

    /// Forward in one launch of clusters that keep x on the chip; `None` where there is no such launch. The operands
    /// name no partials.
    pub(crate) fn train_at_once<T: Element>(
        &self,
        plan: &Plan,
        moments: MomentsArguments,
        finish: FinishMomentsArguments,
        normalize: NormalizeArguments,
    ) -> Option<Result<(), Error>> {
        let doubles = [DEVIATIONS, MOMENTS, SETTLED_MOMENTS];
        let (geometry, residence) = self.resident(plan, 1, doubles)?;
        let arguments = TrainArguments { moments, finish, normalize, residence };
        let operations = [Operation::TrainFirst, Operation::TrainLast];
        let kernel = of_layout::<T>(plan, operations, &arguments);
        // SAFETY: blocks cover x as in `moments` and y as in `normalize`; those of a cluster are the parts of one
        // channel or tile, of which one block writes each channel's statistics. Shared memory has what reductions
        // use, results of each column, and the units of the steps that are kept.
        kernel.is_plain.then(|| unsafe { self.launch(kernel, geometry, &arguments) })
    }

    /// Backward in one launch of clusters that keep dy and x on the chip, as [`train_at_once`](Self::train_at_once).
    pub(crate) fn differentiate_at_once<T: Element>(
        &self,
        plan: &Plan,
        sums: SumsArguments,
        finish: FinishSumsArguments,
        gradient: GradientArguments,
    ) -> Option<Result<(), Error>> {
        let (geometry, residence) = self.resident(plan, 2, [SUMS, SUMS, SETTLED_SUMS])?;
        let arguments = DifferentiateArguments { sums, finish, gradient, residence };
        let operations = [Operation::DifferentiateFirst, Operation::DifferentiateLast];
        let kernel = of_layout::<T>(plan, operations, &arguments);
        // SAFETY: as for `train_at_once`.
        kernel.is_plain.then(|| unsafe { self.launch(kernel, geometry, &arguments) })
    }

    fn resident(
        &self,
        plan: &Plan,
        tensors: usize,
        doubles: [usize; 3],
    ) -> Option<(Geometry, Residence)> {
        plan.resident(tensors, doubles).filter(|_| self.has_clusters)
    }

    /// Writes the statistics that running ones stand for.
    pub(crate) fn fixed_statistics<P: Element>(
        &self,
        channels: usize,
        [running_mean, running_var]: [Values<'_, P>; 2],
        [scale, eps]: [f64; 2],
        [mut mean, mut inv_std]: [ValuesMut<'_, f64>; 2],
    ) -> Result<(), Error> {
        let arguments = FixedStatisticsArguments {
            channels: channels as u64,
            running_mean: running_mean.of(channels),
            running_var: running_var.of(channels),
            scale,
            eps,
            mean: mean.of(channels),
            inv_std: inv_std.of(channels),
        };
        let kernel = Kernel {
            operation: Operation::FixedStatistics,
            dtype: P::DTYPE,
            width: 1,
            is_plain: true,
        };
        // SAFETY: a thread for each of `channels` values, which all four operands have.
        unsafe { self.launch(kernel, plan::threads(channels), &arguments) }
    }

    /// Writes numbers of the host to the device, without a wait.
    pub(crate) fn store_numbers(
        &self,
        numbers: &[f64],
        to: ValuesMut<'_, f64>,
    ) -> Result<(), Error> {
        let mut rest = to;
        for chunk in numbers.chunks(NUMBERS) {
            let (mut part, behind) = rest.split_at(chunk.len());
            let mut values = [0.0; NUMBERS];
            values[..chunk.len()].copy_from_slice(chunk);
            let arguments = StoreNumbersArguments {
                to: part.of(chunk.len()),
                count: chunk.len() as u64,
                numbers: values,
            };
            let kernel = Kernel {
                operation: Operation::StoreNumbers,
                dtype: DType::F64,
                width: 1,
                is_plain: true,
            };
            // SAFETY: one block writes `count` values, which the part has, from as many numbers.
            unsafe { self.launch(kernel, plan::threads(1), &arguments)? };
            rest = behind;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `A` must be what `kernel` takes; with this geometry it must stay within the buffers that the
    /// arguments name, and those must live until it is queued.
    unsafe fn launch<A: Arguments>(
        &self,
        kernel: Kernel,
        geometry: Geometry,
        arguments: &A,
    ) -> Result<(), Error> {
        // SAFETY: the arguments are a struct that mirrors the kernel's; the rest is the caller's promise.
        unsafe { self.machine.launch(kernel, geometry, from_ref(arguments).cast()) }
    }
}

/// Whether tensors are aligned and no mask is there.
fn is_plain(plan: &Plan, arguments: &impl Tensors) -> bool {
    plan.is_aligned(&arguments.tensors()) && arguments.mask() == 0
}

fn of_layout<T: Element>(
    plan: &Plan,
    [first, last]: [Operation; 2],
    arguments: &impl Tensors,
) -> Kernel {
    let operation = match plan.problem.layout() {
        Layout::ChannelsFirst => first,
        Layout::ChannelsLast => last,
    };
    let is_plain = is_plain(plan, arguments);
    Kernel { operation, dtype: T::DTYPE, width: plan.width, is_plain }
}
