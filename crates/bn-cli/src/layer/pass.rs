//! The requests: forward, then backward from what forward left.

use bn_core::{
    Backward, Epilogue, Error, FixedStatistics, ForwardInference, ForwardTraining, Gate,
    HostBackend, InOut, Request, RunningMut, SavedStatistics, SavedTensor, Seen,
};

use super::{Inputs, Outputs, Settings};
use crate::tensor::Stored;

/// Inputs, settings and room for the results; can be run again and again, on any backend.
#[derive(Debug)]
pub(crate) struct Pass<'a, T: Stored> {
    inputs: &'a Inputs<T>,
    settings: &'a Settings,
    outputs: Outputs<T>,
}

impl<'a, T: Stored> Pass<'a, T> {
    /// Takes the memory that the results need.
    pub(crate) fn new(inputs: &'a Inputs<T>, settings: &'a Settings) -> Result<Self, Error> {
        Ok(Self { inputs, settings, outputs: Outputs::new(inputs, settings)? })
    }

    /// The results, complete after [`Pass::forward`] and, with dy, [`Pass::backward`].
    pub(crate) fn outputs(&self) -> &Outputs<T> {
        &self.outputs
    }

    /// Whether there is a dy to go backward from.
    pub(crate) fn has_backward(&self) -> bool {
        self.inputs.dy.is_some()
    }

    /// Whether a residual is added.
    pub(crate) fn has_residual(&self) -> bool {
        self.inputs.residual.is_some()
    }

    /// N·C·S.
    pub(crate) fn elements(&self) -> usize {
        self.inputs.problem.elements()
    }

    /// Writes y and the statistics.
    pub(crate) fn forward(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let Self { inputs, settings, outputs } = self;
        let problem = inputs.problem;
        let (gamma, beta) = (inputs.gamma.as_deref(), inputs.beta.as_deref());
        // Backward's gate is y, so that no bits are needed.
        let epilogue = match (settings.epilogue, inputs.residual.as_deref()) {
            (None, _) => Epilogue::None,
            (Some(_), Some(residual)) => Epilogue::AddRelu { residual, bits: None },
            (Some(_), None) => Epilogue::Relu { bits: None },
        };
        let io = InOut::new(&inputs.x[..], &mut outputs.y[..]);
        let saved =
            SavedStatistics { mean: &mut outputs.mean[..], inv_std: &mut outputs.inv_std[..] };
        if let (false, Some([mean, var])) = (settings.trains(), &inputs.running) {
            let statistics = FixedStatistics::Running {
                mean: &mean[..],
                var: &var[..],
                scale: 1.0,
                eps: settings.eps,
            };
            let request = ForwardInference {
                gamma,
                beta,
                epilogue,
                saved: Some(saved),
                ..ForwardInference::new(problem, io, statistics)
            };
            return backend.forward_inference(request.check()?);
        }
        // A pass may run many times: each begins with the statistics that were given.
        if let (Some(to), Some(from)) = (&mut outputs.running, &inputs.running) {
            to.clone_from(from);
        }
        let mut seen = Seen::default();
        let running = outputs.running.as_mut().map(|[mean, var]| RunningMut {
            mean: &mut mean[..],
            var: &mut var[..],
            seen: &mut seen,
            momentum: settings.momentum,
            variance: settings.variance,
        });
        let request = ForwardTraining {
            gamma,
            beta,
            eps: settings.eps,
            epilogue,
            running,
            ..ForwardTraining::new(problem, io, saved)
        };
        backend.forward_training(request.check()?)
    }

    /// Writes dx, dgamma, dbeta and dresidual; nothing where there is no dy.
    pub(crate) fn backward(&mut self, backend: &HostBackend<T>) -> Result<(), Error> {
        let Self { inputs, settings, outputs } = self;
        let (Some(dy), Some(dx)) = (&inputs.dy, &mut outputs.dx) else { return Ok(()) };
        let gate = match settings.epilogue {
            None => Gate::Open,
            Some(_) => Gate::Output(&outputs.y[..]),
        };
        let io = InOut::new(&dy[..], &mut dx[..]);
        let (x, mean, inv_std) = (&inputs.x[..], &outputs.mean[..], &outputs.inv_std[..]);
        let request = Backward {
            dependence: settings.dependence(),
            gamma: inputs.gamma.as_deref(),
            gate,
            dgamma: outputs.dgamma.as_deref_mut(),
            dbeta: outputs.dbeta.as_deref_mut(),
            dresidual: outputs.dresidual.as_deref_mut(),
            ..Backward::new(inputs.problem, io, SavedTensor::Input(x), mean, inv_std)
        };
        backend.backward(request.check()?)
    }
}
