//! The same operations on a backend in memory of its own: no copies to and from the host in what is timed.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, BatchNormBackend, Correction, Counts, Element,
    Epilogue, Error, FixedStatistics, ForwardInference, ForwardTraining, Gate, InOut, Memory,
    Moments, Momentum, Normalize, Problem, Request, RunningMut, RunningVariance, SavedStatistics,
    SavedTensor, Seen,
};
use core::borrow::{Borrow, BorrowMut};

use crate::Operation;

type Owned<M, E> = <M as Memory>::Owned<E>;

/// The buffers of all operations on one problem in a backend's memory, allocated before any clock runs.
#[expect(missing_debug_implementations, reason = "buffers may be on a device")]
pub struct Workload<T: Element, M: Memory> {
    problem: Problem,
    input: Owned<M, T>,
    second_input: Owned<M, T>,
    output: Owned<M, T>,
    second_output: Owned<M, T>,
    bits: Owned<M, u8>,
    gamma: Owned<M, T::Param>,
    beta: Owned<M, T::Param>,
    running: [Owned<M, T::Param>; 2],
    gradients: [Owned<M, T::Param>; 2],
    seen: Seen,
    mean: Owned<M, f64>,
    inv_std: Owned<M, f64>,
    sums: [Owned<M, f64>; 2],
    counts: Counts,
}

/// So many values are made on the host; larger tensors repeat them.
const PATTERN: usize = 1 << 20;

impl<T: Element, M: Memory> Workload<T, M> {
    /// The buffers of a problem.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] and what else the memory returns.
    pub fn new(memory: &M, problem: Problem) -> Result<Self, Error> {
        let length = problem.elements();
        let tensor = |seed: usize| {
            let noise = |index: usize| ((index * 2_654_435_761 + seed) >> 7) % 4096;
            let pattern: Vec<T> = (0..PATTERN.min(length))
                .map(|index| T::from_f64(noise(index) as f64 / 1024.0 - 2.0))
                .collect();
            let mut values = pattern.repeat(length / pattern.len());
            values.extend_from_slice(&pattern[..length % pattern.len()]);
            memory.upload(&values)
        };
        let parameters =
            |value: f64| memory.upload(&vec![T::Param::from_f64(value); problem.channels()]);
        let statistics = |value: f64| memory.upload(&vec![value; problem.statistics()]);
        Ok(Self {
            problem,
            input: tensor(1)?,
            second_input: tensor(2)?,
            output: memory.alloc(length)?,
            second_output: memory.alloc(length)?,
            // Every other element passes.
            bits: memory.upload(&vec![0x55; problem.bits_len()])?,
            gamma: parameters(1.25)?,
            beta: parameters(-0.5)?,
            running: [parameters(0.1)?, parameters(1.1)?],
            gradients: [parameters(0.0)?, parameters(0.0)?],
            seen: Seen::default(),
            mean: statistics(0.1)?,
            inv_std: statistics(0.9)?,
            sums: [statistics(0.5)?, statistics(0.25)?],
            counts: Counts::from(&problem),
        })
    }

    /// Queues the operation once.
    ///
    /// # Errors
    ///
    /// What the backend returns.
    pub fn run(
        &mut self,
        operation: Operation,
        backend: &(impl BatchNormBackend<T, Memory = M> + ?Sized),
    ) -> Result<(), Error> {
        match operation {
            Operation::Training | Operation::TrainingRelu | Operation::TrainingAddRelu => {
                self.training(operation, backend)
            }
            Operation::Inference | Operation::InferenceRelu | Operation::InferenceAddRelu => {
                self.inference(operation, backend)
            }
            Operation::Backward | Operation::BackwardRelu | Operation::BackwardAddRelu => {
                self.backward(operation, backend)
            }
            Operation::Moments => {
                let [mean, m2] = self.sums.each_mut().map(BorrowMut::borrow_mut);
                let (problem, x) = (self.problem, self.input.borrow());
                backend.moments(Moments { problem, x, valid: None, mean, m2 }.check()?)
            }
            Operation::Normalize => backend.normalize(
                Normalize {
                    problem: self.problem,
                    io: InOut::new(self.input.borrow(), self.output.borrow_mut()),
                    mean: self.mean.borrow(),
                    inv_std: self.inv_std.borrow(),
                    gamma: Some(self.gamma.borrow()),
                    beta: Some(self.beta.borrow()),
                    epilogue: Epilogue::None,
                }
                .check()?,
            ),
            Operation::BackwardReduce => {
                let [sum_dy, sum_dy_xhat] = self.sums.each_mut().map(BorrowMut::borrow_mut);
                backend.backward_reduce(
                    BackwardReduce {
                        problem: self.problem,
                        dy: self.input.borrow(),
                        gate: Gate::Open,
                        saved: SavedTensor::Input(self.second_input.borrow()),
                        mean: self.mean.borrow(),
                        inv_std: self.inv_std.borrow(),
                        sum_dy,
                        sum_dy_xhat,
                    }
                    .check()?,
                )
            }
            Operation::BackwardApply => self.backward_apply(backend),
        }
    }

    fn training(
        &mut self,
        operation: Operation,
        backend: &(impl BatchNormBackend<T, Memory = M> + ?Sized),
    ) -> Result<(), Error> {
        let [mean, var] = self.running.each_mut().map(BorrowMut::borrow_mut);
        let saved =
            SavedStatistics { mean: self.mean.borrow_mut(), inv_std: self.inv_std.borrow_mut() };
        let io = InOut::new(self.input.borrow(), self.output.borrow_mut());
        let residual = self.second_input.borrow();
        let request = ForwardTraining {
            gamma: Some(self.gamma.borrow()),
            beta: Some(self.beta.borrow()),
            running: Some(RunningMut {
                mean,
                var,
                seen: &mut self.seen,
                momentum: Momentum::New(0.1),
                variance: RunningVariance::Unbiased,
            }),
            epilogue: epilogue(operation, residual, Some(self.bits.borrow_mut())),
            ..ForwardTraining::new(self.problem, io, saved)
        };
        backend.forward_training(request.check()?)
    }

    fn inference(
        &mut self,
        operation: Operation,
        backend: &(impl BatchNormBackend<T, Memory = M> + ?Sized),
    ) -> Result<(), Error> {
        let [mean, var] = self.running.each_ref().map(Borrow::borrow);
        let statistics = FixedStatistics::Running { mean, var, scale: 1.0, eps: 1e-5 };
        let io = InOut::new(self.input.borrow(), self.output.borrow_mut());
        let request = ForwardInference {
            gamma: Some(self.gamma.borrow()),
            beta: Some(self.beta.borrow()),
            epilogue: epilogue(operation, self.second_input.borrow(), None),
            ..ForwardInference::new(self.problem, io, statistics)
        };
        backend.forward_inference(request.check()?)
    }

    fn backward(
        &mut self,
        operation: Operation,
        backend: &(impl BatchNormBackend<T, Memory = M> + ?Sized),
    ) -> Result<(), Error> {
        let [dgamma, dbeta] = self.gradients.each_mut().map(BorrowMut::borrow_mut);
        let is_gated = operation != Operation::Backward;
        let has_residual = operation == Operation::BackwardAddRelu;
        let io = InOut::new(self.input.borrow(), self.output.borrow_mut());
        let saved = SavedTensor::Input(self.second_input.borrow());
        let (mean, inv_std) = (self.mean.borrow(), self.inv_std.borrow());
        let request = Backward {
            gamma: Some(self.gamma.borrow()),
            gate: if is_gated { Gate::Bits(self.bits.borrow()) } else { Gate::Open },
            dgamma: Some(dgamma),
            dbeta: Some(dbeta),
            dresidual: has_residual.then(|| self.second_output.borrow_mut()),
            ..Backward::new(self.problem, io, saved, mean, inv_std)
        };
        backend.backward(request.check()?)
    }

    fn backward_apply(
        &mut self,
        backend: &(impl BatchNormBackend<T, Memory = M> + ?Sized),
    ) -> Result<(), Error> {
        let [sum_dy, sum_dy_xhat] = self.sums.each_ref().map(Borrow::borrow);
        backend.backward_apply(
            BackwardApply {
                problem: self.problem,
                io: InOut::new(self.input.borrow(), self.output.borrow_mut()),
                gate: Gate::Open,
                dresidual: None,
                inv_std: self.inv_std.borrow(),
                gamma: Some(self.gamma.borrow()),
                correction: Correction::Batch {
                    saved: SavedTensor::Input(self.second_input.borrow()),
                    mean: self.mean.borrow(),
                    sum_dy,
                    sum_dy_xhat,
                    counts: &self.counts,
                    valid: None,
                },
            }
            .check()?,
        )
    }
}

/// The epilogue that an operation's name says.
fn epilogue<'a, T: Element, M: Memory>(
    operation: Operation,
    residual: &'a M::Buffer<T>,
    bits: Option<&'a mut M::Buffer<u8>>,
) -> Epilogue<'a, T, M> {
    match operation {
        Operation::TrainingRelu | Operation::InferenceRelu => Epilogue::Relu { bits },
        Operation::TrainingAddRelu | Operation::InferenceAddRelu => {
            Epilogue::AddRelu { residual, bits }
        }
        _ => Epilogue::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_core::{HostMemory, Layout, bf16};

    #[test]
    fn every_operation_runs_in_any_memory() {
        let backend = bn::open::<bf16>("naive", &bn::Options::default()).unwrap();
        for layout in Layout::ALL {
            let problem = Problem::new(&[3, 5, 7], layout).unwrap();
            let mut workload = Workload::<bf16, HostMemory>::new(&HostMemory, problem).unwrap();
            for operation in Operation::ALL {
                workload.run(operation, &*backend).unwrap();
            }
        }
    }
}
