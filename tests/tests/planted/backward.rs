//! Errors in the gradients.

use bn_core::{
    Backward, BackwardApply, BackwardReduce, BatchNormBackend as _, Correction, Dependence,
    Element, Error, Gate, HostMemory, Request as _,
};
use bn_naive::NaiveBackend;

use crate::backend::Wrong;
use crate::caught;

/// dx = (g − mean(g))·inv_std: the term mean(g·x̂)·x̂ is missing.
struct MissingTerm;

impl Wrong for MissingTerm {
    fn apply<T: Element>(&self, request: BackwardApply<'_, T, HostMemory>) -> Result<(), Error> {
        let zeros = vec![0.0; request.problem.statistics()];
        let correction = match request.correction {
            Correction::Batch { saved, mean, sum_dy, counts, valid, .. } => {
                Correction::Batch { saved, mean, sum_dy, sum_dy_xhat: &zeros[..], counts, valid }
            }
            Correction::Fixed => Correction::Fixed,
        };
        NaiveBackend.backward_apply(BackwardApply { correction, ..request }.check()?)
    }
}

#[test]
fn missing_term() {
    caught(MissingTerm, &["operation/", "reference/", "golden/", "dx-sums-to-nothing"]);
}

/// The gradient of fixed statistics where they were the batch's.
struct StatisticsTakenAsFixed;

impl Wrong for StatisticsTakenAsFixed {
    fn backward<T: Element>(&self, request: &mut Backward<'_, T, HostMemory>) {
        request.dependence = Dependence::Fixed;
    }
}

#[test]
fn statistics_taken_as_fixed() {
    caught(StatisticsTakenAsFixed, &["reference/", "golden/", "dx-sums-to-nothing"]);
}

/// gamma left out of dx, and dgamma and dbeta right.
struct GammaForgotten;

impl Wrong for GammaForgotten {
    fn apply<T: Element>(&self, request: BackwardApply<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.backward_apply(BackwardApply { gamma: None, ..request }.check()?)
    }
}

#[test]
fn gamma_forgotten() {
    caught(GammaForgotten, &["operation/", "reference/", "golden/"]);
}

/// A gradient that flows through a closed ReLU.
struct OpenGate;

impl Wrong for OpenGate {
    fn apply<T: Element>(&self, request: BackwardApply<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.backward_apply(BackwardApply { gate: Gate::Open, ..request }.check()?)
    }
}

#[test]
fn open_gate() {
    caught(OpenGate, &["operation/", "relu"]);
}

/// The gradient of x given to the residual as well.
struct ResidualGetsDx;

impl Wrong for ResidualGetsDx {
    fn apply<T: Element>(&self, request: BackwardApply<'_, T, HostMemory>) -> Result<(), Error> {
        let BackwardApply { problem, mut io, gate, dresidual, inv_std, gamma, correction } =
            request;
        let (reborrowed, none) = (io.reborrow(), None);
        let request = BackwardApply {
            problem,
            io: reborrowed,
            gate,
            dresidual: none,
            inv_std,
            gamma,
            correction,
        };
        NaiveBackend.backward_apply(request.check()?)?;
        let (bn_core::InOut::Separate { output: dx, .. } | bn_core::InOut::InPlace(dx)) = io;
        if let Some(dresidual) = dresidual {
            dresidual.copy_from_slice(dx);
        }
        Ok(())
    }
}

#[test]
fn residual_gets_dx() {
    caught(ResidualGetsDx, &["operation/", "add-relu"]);
}

/// Σdy·x in place of Σdy·x̂.
struct SumWithX;

impl Wrong for SumWithX {
    fn reduce<T: Element>(&self, request: BackwardReduce<'_, T, HostMemory>) -> Result<(), Error> {
        let (zeros, ones) = (vec![0.0; request.mean.len()], vec![1.0; request.mean.len()]);
        let request = BackwardReduce { mean: &zeros[..], inv_std: &ones[..], ..request };
        NaiveBackend.backward_reduce(request.check()?)
    }
}

#[test]
fn sum_with_x() {
    caught(SumWithX, &["operation/", "reference/", "golden/"]);
}

/// Only the sums of the first group of the batch.
struct FirstGroupOnly;

impl Wrong for FirstGroupOnly {
    fn reduce<T: Element>(&self, request: BackwardReduce<'_, T, HostMemory>) -> Result<(), Error> {
        let BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat } =
            request;
        let right = BackwardReduce {
            problem,
            dy,
            gate,
            saved,
            mean,
            inv_std,
            sum_dy: &mut *sum_dy,
            sum_dy_xhat: &mut *sum_dy_xhat,
        };
        NaiveBackend.backward_reduce(right.check()?)?;
        sum_dy[problem.channels()..].fill(0.0);
        sum_dy_xhat[problem.channels()..].fill(0.0);
        Ok(())
    }
}

#[test]
fn first_group_only() {
    caught(FirstGroupOnly, &["+groups2"]);
}
