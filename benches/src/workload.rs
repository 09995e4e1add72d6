//! The buffers of a case, and the call of a backend on them.

mod files;

use bn_core::{
    Backward, BackwardApply, BackwardReduce, Correction, Counts, Element, Epilogue, Error,
    FixedStatistics, ForwardInference, ForwardTraining, Gate, HostBackend, HostMemory, InOut,
    Moments, Momentum, Normalize, Problem, Request, RunningMut, RunningVariance, SavedStatistics,
    SavedTensor, Seen,
};

use crate::aligned::Aligned;
use crate::{Operation, Traffic};

/// Everything that an operation reads and writes, allocated and touched before any clock runs.
///
/// Tensors are named by their part: an operation's input is x or dy, its second input x, the residual
/// or nothing, its output y or dx, its second output the residual's gradient or nothing. Those that an
/// operation has no use for are empty.
pub(crate) struct Workload<T: Element> {
    operation: Operation,
    problem: Problem,
    input: Aligned<T>,
    second_input: Aligned<T>,
    output: Aligned<T>,
    second_output: Aligned<T>,
    bits: Aligned<u8>,
    channels: Channels<T>,
}

/// The values per channel.
struct Channels<T: Element> {
    gamma: Vec<T::Param>,
    beta: Vec<T::Param>,
    running_mean: Vec<T::Param>,
    running_var: Vec<T::Param>,
    seen: Seen,
    mean: Vec<f64>,
    inv_std: Vec<f64>,
    /// Read as the sums of `backward_apply`, written by `backward_reduce` and `moments`.
    sums: [Vec<f64>; 2],
    gradients: [Vec<T::Param>; 2],
    counts: Counts,
}

impl<T: Element> Workload<T> {
    pub(crate) fn new(operation: Operation, problem: Problem) -> Self {
        let elements = problem.elements();
        let Traffic { reads, writes } = operation.traffic();
        let length = |is_used: bool| if is_used { elements } else { 0 };
        Self {
            operation,
            problem,
            input: Aligned::from_fn(elements, |index| noise(index, 1)),
            second_input: Aligned::from_fn(length(reads > 1), |index| noise(index, 2)),
            output: Aligned::zeros(length(writes > 0)),
            second_output: Aligned::zeros(length(writes > 1)),
            // Every other element passes.
            bits: Aligned::from_fn(problem.bits_len(), |_| 0x55),
            channels: Channels::new(&problem),
        }
    }

    /// Runs the operation once.
    pub(crate) fn run(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        match self.operation {
            Operation::Training | Operation::TrainingRelu | Operation::TrainingAddRelu => {
                self.training(backend)
            }
            Operation::Inference | Operation::InferenceRelu | Operation::InferenceAddRelu => {
                self.inference(backend)
            }
            Operation::Backward | Operation::BackwardRelu | Operation::BackwardAddRelu => {
                self.backward(backend)
            }
            Operation::Moments => self.moments(backend),
            Operation::Normalize => self.normalize(backend),
            Operation::BackwardReduce => self.backward_reduce(backend),
            Operation::BackwardApply => self.backward_apply(backend),
        }
    }

    fn training(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &mut self.channels;
        let saved =
            SavedStatistics { mean: &mut channels.mean[..], inv_std: &mut channels.inv_std[..] };
        let io = InOut::new(&*self.input, &mut *self.output);
        let bits = Some(&mut *self.bits);
        let request = ForwardTraining {
            gamma: Some(&channels.gamma[..]),
            beta: Some(&channels.beta[..]),
            running: Some(RunningMut {
                mean: &mut channels.running_mean[..],
                var: &mut channels.running_var[..],
                seen: &mut channels.seen,
                momentum: Momentum::New(0.1),
                variance: RunningVariance::Unbiased,
            }),
            epilogue: epilogue(self.operation, &self.second_input, bits),
            ..ForwardTraining::new(self.problem, io, saved)
        };
        backend.forward_training(request.check()?)
    }

    fn inference(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &self.channels;
        let statistics = FixedStatistics::Running {
            mean: &channels.running_mean[..],
            var: &channels.running_var[..],
            scale: 1.0,
            eps: 1e-5,
        };
        let io = InOut::new(&*self.input, &mut *self.output);
        let request = ForwardInference {
            gamma: Some(&channels.gamma[..]),
            beta: Some(&channels.beta[..]),
            epilogue: epilogue(self.operation, &self.second_input, None),
            ..ForwardInference::new(self.problem, io, statistics)
        };
        backend.forward_inference(request.check()?)
    }

    fn backward(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &mut self.channels;
        let [dgamma, dbeta] = channels.gradients.each_mut().map(|values| &mut values[..]);
        let is_gated = self.operation != Operation::Backward;
        let has_residual = self.operation == Operation::BackwardAddRelu;
        let io = InOut::new(&*self.input, &mut *self.output);
        let saved = SavedTensor::Input(&*self.second_input);
        let request = Backward {
            gamma: Some(&channels.gamma[..]),
            gate: if is_gated { Gate::Bits(&*self.bits) } else { Gate::Open },
            dgamma: Some(dgamma),
            dbeta: Some(dbeta),
            dresidual: has_residual.then_some(&mut *self.second_output),
            ..Backward::new(self.problem, io, saved, &channels.mean[..], &channels.inv_std[..])
        };
        backend.backward(request.check()?)
    }

    fn moments(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let [mean, m2] = self.channels.sums.each_mut().map(|values| &mut values[..]);
        let request = Moments { problem: self.problem, x: &*self.input, valid: None, mean, m2 };
        backend.moments(request.check()?)
    }

    fn normalize(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &self.channels;
        let request = Normalize {
            problem: self.problem,
            io: InOut::new(&*self.input, &mut *self.output),
            mean: &channels.mean[..],
            inv_std: &channels.inv_std[..],
            gamma: Some(&channels.gamma[..]),
            beta: Some(&channels.beta[..]),
            epilogue: Epilogue::None,
        };
        backend.normalize(request.check()?)
    }

    fn backward_reduce(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &mut self.channels;
        let [sum_dy, sum_dy_xhat] = channels.sums.each_mut().map(|values| &mut values[..]);
        let request = BackwardReduce {
            problem: self.problem,
            dy: &*self.input,
            gate: Gate::Open,
            saved: SavedTensor::Input(&*self.second_input),
            mean: &channels.mean[..],
            inv_std: &channels.inv_std[..],
            sum_dy,
            sum_dy_xhat,
        };
        backend.backward_reduce(request.check()?)
    }

    fn backward_apply(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let channels = &self.channels;
        let [sum_dy, sum_dy_xhat] = channels.sums.each_ref().map(|values| &values[..]);
        let request = BackwardApply {
            problem: self.problem,
            io: InOut::new(&*self.input, &mut *self.output),
            gate: Gate::Open,
            dresidual: None,
            inv_std: &channels.inv_std[..],
            gamma: Some(&channels.gamma[..]),
            correction: Correction::Batch {
                saved: SavedTensor::Input(&*self.second_input),
                mean: &channels.mean[..],
                sum_dy,
                sum_dy_xhat,
                counts: &channels.counts,
                valid: None,
            },
        };
        backend.backward_apply(request.check()?)
    }
}

impl<T: Element> Channels<T> {
    fn new(problem: &Problem) -> Self {
        let parameters = |value: f64| vec![T::Param::from_f64(value); problem.channels()];
        let statistics = |value: f64| vec![value; problem.statistics()];
        Self {
            gamma: parameters(1.25),
            beta: parameters(-0.5),
            running_mean: parameters(0.1),
            running_var: parameters(1.1),
            seen: Seen::default(),
            mean: statistics(0.1),
            inv_std: statistics(0.9),
            sums: [statistics(0.5), statistics(0.25)],
            gradients: [parameters(0.0), parameters(0.0)],
            counts: Counts::from(problem),
        }
    }
}

/// The epilogue that an operation's name says.
fn epilogue<'a, T: Element>(
    operation: Operation,
    residual: &'a [T],
    bits: Option<&'a mut [u8]>,
) -> Epilogue<'a, T, HostMemory> {
    match operation {
        Operation::TrainingRelu | Operation::InferenceRelu => Epilogue::Relu { bits },
        Operation::TrainingAddRelu | Operation::InferenceAddRelu => {
            Epilogue::AddRelu { residual, bits }
        }
        _ => Epilogue::None,
    }
}

/// Values without a pattern in [−2, 2), the same on every run: a multiplicative hash of the index.
pub(crate) fn noise<T: Element>(index: usize, seed: u64) -> T {
    let hash = (index as u64 + (seed << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    T::from_f64((hash >> 40) as f64 / f64::from(1 << 22) - 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_core::{Layout, bf16};

    fn every_operation_runs_on<T: Element>() {
        for layout in Layout::ALL {
            let problem = Problem::new(&[3, 5, 7], layout).unwrap();
            for operation in Operation::ALL {
                let mut workload = Workload::<T>::new(operation, problem);
                let backend = bn::open::<T>("naive", &bn::Options::default()).unwrap();
                workload.run(&*backend).unwrap();
                let is_written = |tensor: &[T]| tensor.iter().any(|value| *value != T::default());
                let Traffic { writes, .. } = operation.traffic();
                assert_eq!(is_written(&workload.output), writes > 0, "{operation:?}");
                assert_eq!(is_written(&workload.second_output), writes > 1, "{operation:?}");
            }
        }
    }

    #[test]
    fn every_operation_runs_and_writes_what_its_traffic_says() {
        every_operation_runs_on::<f32>();
        every_operation_runs_on::<bf16>();
    }

    #[test]
    fn noise_fills_its_range_evenly() {
        let values: Vec<f64> = (0..4096).map(|index| noise(index, 1)).collect();
        let mean = values.iter().sum::<f64>() / 4096.0;
        assert!(values.iter().all(|value| (-2.0..2.0).contains(value)) && mean.abs() < 0.05);
        assert!(
            values.iter().any(|value| *value < -1.9) && values.iter().any(|value| *value > 1.9)
        );
    }
}
