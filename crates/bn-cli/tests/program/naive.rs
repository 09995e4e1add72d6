//! What the program should give: bn-naive called directly.

use bn_core::{
    Backward, BatchNormBackend, Dependence, Element, Epilogue, FixedStatistics, ForwardInference,
    ForwardTraining, Gate, InOut, Layout, Momentum, Problem, Request, RunningMut, RunningVariance,
    SavedStatistics, SavedTensor, Seen,
};
use bn_naive::NaiveBackend;

use crate::files::values;

/// A layer with everything that it can have.
pub(crate) struct Case<T: Element> {
    pub(crate) dims: Vec<usize>,
    pub(crate) layout: Layout,
    pub(crate) channels: usize,
    pub(crate) x: Vec<T>,
    pub(crate) dy: Vec<T>,
    pub(crate) residual: Vec<T>,
    pub(crate) gamma: Vec<T::Param>,
    pub(crate) beta: Vec<T::Param>,
    pub(crate) running_mean: Vec<T::Param>,
    pub(crate) running_var: Vec<T::Param>,
}

/// What it gives.
pub(crate) struct Expected<T: Element> {
    pub(crate) y: Vec<T>,
    pub(crate) dx: Vec<T>,
    pub(crate) dresidual: Vec<T>,
    pub(crate) dgamma: Vec<T::Param>,
    pub(crate) dbeta: Vec<T::Param>,
    pub(crate) running_mean: Vec<T::Param>,
    pub(crate) running_var: Vec<T::Param>,
    pub(crate) mean: Vec<f64>,
    pub(crate) inv_std: Vec<f64>,
}

/// How it is run.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) training: bool,
    pub(crate) epilogue: Option<&'static str>,
    pub(crate) momentum: Momentum,
    pub(crate) variance: RunningVariance,
    pub(crate) eps: f64,
}

impl<T: Element> Case<T> {
    pub(crate) fn new(dims: &[usize], layout: Layout) -> Self {
        let problem = Problem::new(dims, layout).unwrap();
        let (count, channels) = (problem.elements(), problem.channels());
        let positive = |value: T::Param| T::Param::from_f64(value.to_f64().abs() + 0.25);
        Self {
            dims: dims.to_vec(),
            layout,
            channels,
            x: values(count, 1),
            dy: values(count, 2),
            residual: values(count, 3),
            gamma: values(channels, 4),
            beta: values(channels, 5),
            running_mean: values(channels, 6),
            running_var: values(channels, 7).into_iter().map(positive).collect(),
        }
    }

    pub(crate) fn run(&self, how: How) -> Expected<T> {
        let problem = Problem::new(&self.dims, self.layout).unwrap();
        let (zeros, params) =
            (vec![T::default(); self.x.len()], vec![T::Param::default(); self.channels]);
        let mut result = Expected {
            y: zeros.clone(),
            dx: zeros.clone(),
            dresidual: zeros,
            dgamma: params.clone(),
            dbeta: params,
            running_mean: self.running_mean.clone(),
            running_var: self.running_var.clone(),
            mean: vec![0.0; self.channels],
            inv_std: vec![0.0; self.channels],
        };
        let epilogue = match how.epilogue {
            None => Epilogue::None,
            Some("relu") => Epilogue::Relu { bits: None },
            Some(_) => Epilogue::AddRelu { residual: &self.residual[..], bits: None },
        };
        let io = InOut::new(&self.x[..], &mut result.y[..]);
        let saved =
            SavedStatistics { mean: &mut result.mean[..], inv_std: &mut result.inv_std[..] };
        let (gamma, beta) = (Some(&self.gamma[..]), Some(&self.beta[..]));
        if how.training {
            let running = RunningMut {
                mean: &mut result.running_mean[..],
                var: &mut result.running_var[..],
                seen: &mut Seen::default(),
                momentum: how.momentum,
                variance: how.variance,
            };
            let request = ForwardTraining {
                gamma,
                beta,
                eps: how.eps,
                epilogue,
                running: Some(running),
                ..ForwardTraining::new(problem, io, saved)
            };
            NaiveBackend.forward_training(request.check().unwrap()).unwrap();
        } else {
            let (mean, var) = (&self.running_mean[..], &self.running_var[..]);
            let statistics = FixedStatistics::Running { mean, var, scale: 1.0, eps: how.eps };
            let saved = Some(saved);
            let request = ForwardInference {
                gamma,
                beta,
                epilogue,
                saved,
                ..ForwardInference::new(problem, io, statistics)
            };
            NaiveBackend.forward_inference(request.check().unwrap()).unwrap();
        }
        let io = InOut::new(&self.dy[..], &mut result.dx[..]);
        let x = SavedTensor::Input(&self.x[..]);
        let request = Backward {
            dependence: if how.training { Dependence::Batch } else { Dependence::Fixed },
            gamma,
            gate: how.epilogue.map_or(Gate::Open, |_| Gate::Output(&result.y[..])),
            dgamma: Some(&mut result.dgamma[..]),
            dbeta: Some(&mut result.dbeta[..]),
            dresidual: Some(&mut result.dresidual[..]),
            ..Backward::new(problem, io, x, &result.mean[..], &result.inv_std[..])
        };
        NaiveBackend.backward(request.check().unwrap()).unwrap();
        result
    }
}
