//! Launches: one safe wrapper for each kernel.
//!
//! They take a plan and the operands that [`operands`](crate::operands) has checked against it. That is the
//! whole obligation of a launch; each SAFETY comment says for its kernel why it is enough.

use core::ptr::from_ref;

use bn_core::{DType, Element, Error, Layout, Scalar as _};

use crate::arguments::{
    Arguments, DifferentiateArguments, FinishMomentsArguments, FinishSumsArguments,
    FixedStatisticsArguments, GradientArguments, MomentsArguments, NUMBERS, NormalizeArguments,
    StoreNumbersArguments, SumsArguments, TrainArguments,
};
use crate::kernel::{Geometry, Kernel, Operation};
use crate::machine::Machine;
use crate::memory::{Values, ValuesMut};
use crate::operands::{MOMENTS, SUMS};
use crate::plan::{self, Plan};

/// Launches kernels on a machine.
pub(crate) struct Launcher<'m, M>(pub(crate) &'m M);

impl<M: Machine> Launcher<'_, M> {
    /// Takes the moments of each part.
    pub(crate) fn moments<T: Element>(
        &self,
        plan: &Plan,
        arguments: &MomentsArguments,
    ) -> Result<(), Error> {
        let kernel = of_layout::<T>(plan, [Operation::MomentsFirst, Operation::MomentsLast]);
        // SAFETY: blocks run over groups · tiles · parts of the plan, which cover x exactly, and each
        // thread drops what lies behind a row or part; a block writes the partials of its own part, of
        // which there are as many as asserted. Shared memory is an item for each column and warp.
        unsafe { self.launch(kernel, plan.reducing(MOMENTS), arguments) }
    }

    /// Takes the gradient sums of each part.
    pub(crate) fn sums<T: Element>(
        &self,
        plan: &Plan,
        arguments: &SumsArguments,
    ) -> Result<(), Error> {
        let kernel = of_layout::<T>(plan, [Operation::SumsFirst, Operation::SumsLast]);
        // SAFETY: as for `moments`; the gate has a value for each element or bits_len bytes, statistics
        // are indexed by group and channel.
        unsafe { self.launch(kernel, plan.reducing(SUMS), arguments) }
    }

    /// Writes y, and bits where there are any.
    pub(crate) fn normalize<T: Element>(
        &self,
        plan: &Plan,
        arguments: &NormalizeArguments,
    ) -> Result<(), Error> {
        let kernel = of_layout::<T>(plan, [Operation::NormalizeFirst, Operation::NormalizeLast]);
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
        let kernel = of_layout::<T>(plan, [Operation::GradientFirst, Operation::GradientLast]);
        // SAFETY: as for `normalize`; where x is null, neither means, sums nor counts are read.
        unsafe { self.launch(kernel, plan.writing(), arguments) }
    }

    /// Merges the moments of the parts.
    pub(crate) fn finish_moments<T: Element>(
        &self,
        plan: &Plan,
        arguments: &FinishMomentsArguments,
    ) -> Result<(), Error> {
        let kernel = Kernel { operation: Operation::FinishMoments, dtype: T::Param::DTYPE };
        // SAFETY: whole warps step through the channels; each reads its channel's partials, as many as
        // asserted, and its first lane alone writes that channel's statistics.
        unsafe { self.launch(kernel, plan::warps(plan.problem.channels()), arguments) }
    }

    /// Adds the sums of the parts, and the groups' to dgamma and dbeta.
    pub(crate) fn finish_sums<T: Element>(
        &self,
        plan: &Plan,
        arguments: &FinishSumsArguments,
    ) -> Result<(), Error> {
        let kernel = Kernel { operation: Operation::FinishSums, dtype: T::Param::DTYPE };
        // SAFETY: as for `finish_moments`.
        unsafe { self.launch(kernel, plan::warps(plan.problem.channels()), arguments) }
    }

    /// The launch of a fused kernel, where the plan has teams and the device holds enough of them.
    pub(crate) fn teams<T: Element>(
        &self,
        plan: &Plan,
        operation: Operation,
        item: usize,
    ) -> Result<Option<Geometry>, Error> {
        let Some(geometry) = plan.teams(item) else { return Ok(None) };
        let kernel = Kernel { operation, dtype: T::DTYPE };
        Ok(plan.teams_of(geometry, self.0.resident_blocks(kernel, geometry)?))
    }

    /// Zeros for the teams to count their arrivals in, 32 bits for each channel; gives their address.
    pub(crate) fn clear_arrivals(
        &self,
        plan: &Plan,
        mut place: ValuesMut<'_, f64>,
    ) -> Result<u64, Error> {
        let bytes = plan.problem.channels() * size_of::<u32>();
        let address = place.of(plan.arrivals());
        // SAFETY: the place has so many doubles, which hold the bytes.
        unsafe { self.0.clear(address, bytes)? };
        Ok(address)
    }

    /// Moments, statistics and y in one launch.
    pub(crate) fn train<T: Element>(
        &self,
        geometry: Geometry,
        arguments: &TrainArguments,
    ) -> Result<(), Error> {
        let kernel = Kernel { operation: Operation::TrainFirst, dtype: T::DTYPE };
        // SAFETY: teams of `parts` blocks, all there at once, step through the channels of a plan of one
        // group; each block touches what the single kernels touch for the same part and channel, and
        // there is a count of arrivals for each channel.
        unsafe { self.launch(kernel, geometry, arguments) }
    }

    /// Sums, parameter gradients and dx in one launch.
    pub(crate) fn differentiate<T: Element>(
        &self,
        geometry: Geometry,
        arguments: &DifferentiateArguments,
    ) -> Result<(), Error> {
        let kernel = Kernel { operation: Operation::DifferentiateFirst, dtype: T::DTYPE };
        // SAFETY: as for `train`.
        unsafe { self.launch(kernel, geometry, arguments) }
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
        let kernel = Kernel { operation: Operation::FixedStatistics, dtype: P::DTYPE };
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
            let kernel = Kernel { operation: Operation::StoreNumbers, dtype: DType::F64 };
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
        unsafe { self.0.launch(kernel, geometry, from_ref(arguments).cast()) }
    }
}

fn of_layout<T: Element>(plan: &Plan, [first, last]: [Operation; 2]) -> Kernel {
    let operation = match plan.problem.layout() {
        Layout::ChannelsFirst => first,
        Layout::ChannelsLast => last,
    };
    Kernel { operation, dtype: T::DTYPE }
}
