//! Memory that runs out at each point where it is taken: an error, and not one output written.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, BatchNormBackend as _, Correction, Epilogue, Error,
    FixedStatistics, ForwardInference, ForwardTraining, Gate, InOut, Layout, Moments, Momentum,
    Normalize, Problem, Request as _, RunningMut, RunningVariance, SavedStatistics, SavedTensor,
    Seen, Staged,
};

use crate::backend::Elsewhere;

const UNTOUCHED: f32 = -77.0;

/// Tries with memory for 0, 1, 2, … allocations until one suffices; says how many failed.
fn exhausted(attempt: impl Fn(&Staged<Elsewhere>) -> (Result<(), Error>, bool)) -> usize {
    for allocations in 0..100 {
        let (outcome, untouched) = attempt(&Staged::new(Elsewhere::with(allocations)));
        match outcome {
            Ok(()) => {
                assert!(!untouched, "nothing was written");
                return allocations;
            }
            Err(error) => {
                assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
                assert!(untouched, "something was written before allocation {allocations} failed");
            }
        }
    }
    panic!("no amount of memory suffices");
}

#[test]
fn training() {
    let failed = exhausted(|backend| {
        let problem = Problem::new(&[4, 3, 5], Layout::ChannelsFirst).unwrap();
        let x: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32).collect();
        let (mut y, mut bits) = (vec![UNTOUCHED; 60], vec![0xA5; problem.bits_len()]);
        let (mut mean, mut inv_std) = ([f64::from(UNTOUCHED); 3], [f64::from(UNTOUCHED); 3]);
        let (mut running_mean, mut running_var) = ([UNTOUCHED; 3], [UNTOUCHED; 3]);
        let mut seen = Seen::default();
        let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
        let request = ForwardTraining {
            epilogue: Epilogue::Relu { bits: Some(&mut bits[..]) },
            running: Some(RunningMut {
                mean: &mut running_mean[..],
                var: &mut running_var[..],
                seen: &mut seen,
                momentum: Momentum::New(0.1),
                variance: RunningVariance::Unbiased,
            }),
            ..ForwardTraining::new(problem, InOut::new(&x[..], &mut y[..]), saved)
        };
        let outcome = backend.forward_training(request.check().unwrap());
        let untouched = y.iter().all(|&y| y == UNTOUCHED)
            && bits.iter().all(|&bits| bits == 0xA5)
            && [mean, inv_std].concat().iter().all(|&value| value == f64::from(UNTOUCHED))
            && [running_mean, running_var].concat().iter().all(|&value| value == UNTOUCHED)
            && seen == Seen::default();
        (outcome, untouched)
    });
    assert!(failed >= 8, "x, y, bits, saved and running statistics are {failed} allocations");
}

#[test]
fn inference() {
    let failed = exhausted(|backend| {
        let problem = Problem::new(&[4, 3, 5], Layout::ChannelsFirst).unwrap();
        let x: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32).collect();
        let (running_mean, running_var) = ([1.0; 3], [2.0; 3]);
        let (mut y, mut bits) = (vec![UNTOUCHED; 60], vec![0xA5; problem.bits_len()]);
        let (mut mean, mut inv_std) = ([f64::from(UNTOUCHED); 3], [f64::from(UNTOUCHED); 3]);
        let statistics = FixedStatistics::Running {
            mean: &running_mean[..],
            var: &running_var[..],
            scale: 1.0,
            eps: 1e-5,
        };
        let request = ForwardInference {
            epilogue: Epilogue::AddRelu { residual: &x[..], bits: Some(&mut bits[..]) },
            saved: Some(SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] }),
            ..ForwardInference::new(problem, InOut::new(&x[..], &mut y[..]), statistics)
        };
        let outcome = backend.forward_inference(request.check().unwrap());
        let untouched = y.iter().all(|&y| y == UNTOUCHED)
            && bits.iter().all(|&bits| bits == 0xA5)
            && [mean, inv_std].concat().iter().all(|&value| value == f64::from(UNTOUCHED));
        (outcome, untouched)
    });
    assert!(
        failed >= 8,
        "x, y, residual, bits, saved and running statistics are {failed} allocations"
    );
}

#[test]
fn the_required_operations() {
    let problem = Problem::new(&[4, 3, 5], Layout::ChannelsFirst).unwrap();
    let x: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32).collect();
    let (mean, inv_std) = ([1.0; 3], [0.5; 3]);
    let gone = |values: &[f64]| values.iter().all(|&value| value == f64::from(UNTOUCHED));
    let wide = || [f64::from(UNTOUCHED); 3];
    exhausted(|backend| {
        let (mut mean, mut m2) = (wide(), wide());
        let (mean_out, m2_out) = (&mut mean[..], &mut m2[..]);
        let request = Moments { problem, x: &x[..], valid: None, mean: mean_out, m2: m2_out };
        let outcome = backend.moments(request.check().unwrap());
        (outcome, gone(&mean) && gone(&m2))
    });
    exhausted(|backend| {
        let (mut sum_dy, mut sum_dy_xhat) = (wide(), wide());
        let request = BackwardReduce {
            problem,
            dy: &x[..],
            gate: Gate::Open,
            saved: SavedTensor::Input(&x[..]),
            mean: &mean[..],
            inv_std: &inv_std[..],
            sum_dy: &mut sum_dy[..],
            sum_dy_xhat: &mut sum_dy_xhat[..],
        };
        let outcome = backend.backward_reduce(request.check().unwrap());
        (outcome, gone(&sum_dy) && gone(&sum_dy_xhat))
    });
    exhausted(|backend| {
        let mut y = vec![UNTOUCHED; 60];
        let request = Normalize {
            problem,
            io: InOut::new(&x[..], &mut y[..]),
            mean: &mean[..],
            inv_std: &inv_std[..],
            gamma: None,
            beta: None,
            epilogue: Epilogue::None,
        };
        let outcome = backend.normalize(request.check().unwrap());
        (outcome, y.iter().all(|&y| y == UNTOUCHED))
    });
    exhausted(|backend| {
        let mut dx = vec![UNTOUCHED; 60];
        let request = BackwardApply {
            problem,
            io: InOut::new(&x[..], &mut dx[..]),
            gate: Gate::Open,
            dresidual: None,
            inv_std: &inv_std[..],
            gamma: None,
            correction: Correction::Fixed,
        };
        let outcome = backend.backward_apply(request.check().unwrap());
        (outcome, dx.iter().all(|&dx| dx == UNTOUCHED))
    });
}

#[test]
fn backward() {
    let failed = exhausted(|backend| {
        let problem = Problem::new(&[4, 3, 5], Layout::ChannelsLast).unwrap();
        let x: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32).collect();
        let (mean, inv_std) = ([1.0; 5], [0.5; 5]);
        let (mut dx, mut dresidual) = (vec![UNTOUCHED; 60], vec![UNTOUCHED; 60]);
        let (mut dgamma, mut dbeta) = ([UNTOUCHED; 5], [UNTOUCHED; 5]);
        let io = InOut::new(&x[..], &mut dx[..]);
        let request = Backward {
            gate: Gate::Output(&x[..]),
            dgamma: Some(&mut dgamma[..]),
            dbeta: Some(&mut dbeta[..]),
            dresidual: Some(&mut dresidual[..]),
            ..Backward::new(problem, io, SavedTensor::Input(&x[..]), &mean[..], &inv_std[..])
        };
        let outcome = backend.backward(request.check().unwrap());
        let outputs = dx.iter().chain(&dresidual).chain(&dgamma).chain(&dbeta);
        let untouched = outputs.into_iter().all(|&value| value == UNTOUCHED);
        (outcome, untouched)
    });
    assert!(failed >= 8, "dy, dx, x, y, statistics and gradients are {failed} allocations");
}
