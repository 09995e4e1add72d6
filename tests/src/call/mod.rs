//! The operations of a backend on host data: what trials call, whatever the memory behind it.
//!
//! One trait object per element type stands between the trials and the backend, so that trials are compiled
//! once and not once for each backend.

mod buffers;
mod rig;

use bn_core::{
    Capabilities, ChannelMoments, Dependence, Element, Error, Momentum, Problem, RunningVariance,
    Seen, SingleValue,
};

pub(crate) use rig::Rig;

/// How a call is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// The output over the input.
    pub in_place: bool,
    /// How many values behind an aligned address every buffer starts.
    pub shift: usize,
    /// An operand that gets another length than the right one.
    pub wrong: Option<(&'static str, usize)>,
}

impl How {
    pub(crate) const IN_PLACE: Self = Self { in_place: true, shift: 0, wrong: None };
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Reply<O> {
    /// What the check or the backend returned.
    pub outcome: Result<(), Error>,
    /// The outputs as they were left.
    pub outputs: O,
    /// The first output in which anything was written, if any was.
    pub touched: Option<&'static str>,
}

impl<O> Reply<O> {
    /// The outputs of a call that must succeed.
    pub(crate) fn written(self) -> Result<O, String> {
        self.outcome.map_err(|error| format!("refused with: {error}"))?;
        Ok(self.outputs)
    }

    /// The error of a call that must fail and write nothing.
    pub(crate) fn refused(self) -> Result<Error, String> {
        let Err(error) = self.outcome else {
            return Err("accepted, where an error was due".into());
        };
        match self.touched {
            None => Ok(error),
            Some(output) => Err(format!("{output} was written before the error: {error}")),
        }
    }
}

/// A reply, or a failure of the memory or a dead canary.
pub(crate) type Called<O> = Result<Reply<O>, String>;

/// What is fused behind a normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tail<'a, T> {
    None,
    Relu { bits: bool },
    AddRelu { residual: &'a [T], bits: bool },
}

/// What tells backward which elements passed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passed<'a, T> {
    All,
    Output(&'a [T]),
    Bits(&'a [u8]),
}

/// x or x̂ for backward.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From<'a, T> {
    Input(&'a [T]),
    Normalized(&'a [T]),
}

/// Running statistics, before or after.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running<P> {
    pub mean: Vec<P>,
    pub var: Vec<P>,
    pub seen: Seen,
}

/// A mask and the problem that it is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaskOf<'a> {
    pub problem: Problem,
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MomentsCall<'a, T> {
    pub problem: Problem,
    pub x: &'a [T],
    pub mask: Option<MaskOf<'a>>,
}

#[derive(Debug)]
pub(crate) struct MomentsOut {
    pub mean: Vec<f64>,
    pub m2: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NormalizeCall<'a, T: Element> {
    pub problem: Problem,
    pub x: &'a [T],
    pub mean: &'a [f64],
    pub inv_std: &'a [f64],
    pub gamma: Option<&'a [T::Param]>,
    pub beta: Option<&'a [T::Param]>,
    pub tail: Tail<'a, T>,
}

#[derive(Debug)]
pub(crate) struct NormalizeOut<T> {
    pub y: Vec<T>,
    pub bits: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReduceCall<'a, T> {
    pub problem: Problem,
    pub dy: &'a [T],
    pub passed: Passed<'a, T>,
    pub from: From<'a, T>,
    pub mean: &'a [f64],
    pub inv_std: &'a [f64],
}

#[derive(Debug)]
pub(crate) struct ReduceOut {
    pub sum_dy: Vec<f64>,
    pub sum_dy_xhat: Vec<f64>,
}

/// The sums and counts that a batch correction needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums<'a, T> {
    pub from: From<'a, T>,
    pub mean: &'a [f64],
    pub sum_dy: &'a [f64],
    pub sum_dy_xhat: &'a [f64],
    /// One for each group.
    pub counts: &'a [u64],
    pub mask: Option<MaskOf<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplyCall<'a, T: Element> {
    pub problem: Problem,
    pub dy: &'a [T],
    pub passed: Passed<'a, T>,
    pub dresidual: bool,
    pub inv_std: &'a [f64],
    pub gamma: Option<&'a [T::Param]>,
    /// `None` where statistics were fixed.
    pub sums: Option<Sums<'a, T>>,
}

#[derive(Debug)]
pub(crate) struct ApplyOut<T> {
    pub dx: Vec<T>,
    pub dresidual: Option<Vec<T>>,
}

/// Running statistics and the convention in which they are updated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update<'a, P> {
    pub before: &'a Running<P>,
    pub momentum: Momentum,
    pub variance: RunningVariance,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainingCall<'a, T: Element> {
    pub problem: Problem,
    pub x: &'a [T],
    pub mask: Option<MaskOf<'a>>,
    pub gamma: Option<&'a [T::Param]>,
    pub beta: Option<&'a [T::Param]>,
    pub eps: f64,
    pub tail: Tail<'a, T>,
    pub update: Option<Update<'a, T::Param>>,
    pub single_value: SingleValue,
}

impl<'a, T: Element> TrainingCall<'a, T> {
    /// As the request's own `new`.
    pub(crate) fn new(problem: Problem, x: &'a [T]) -> Self {
        Self {
            problem,
            x,
            mask: None,
            gamma: None,
            beta: None,
            eps: 1e-5,
            tail: Tail::None,
            update: None,
            single_value: SingleValue::Refuse,
        }
    }
}

/// What either fused forward writes.
#[derive(Debug)]
pub(crate) struct ForwardOut<T: Element> {
    pub y: Vec<T>,
    pub bits: Option<Vec<u8>>,
    pub mean: Vec<f64>,
    pub inv_std: Vec<f64>,
    pub running: Option<Running<T::Param>>,
}

/// Fixed statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fixed<'a, P> {
    Running { mean: &'a [P], var: &'a [P], scale: f64, eps: f64 },
    Given { mean: &'a [f64], inv_std: &'a [f64] },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct InferenceCall<'a, T: Element> {
    pub problem: Problem,
    pub x: &'a [T],
    pub fixed: Fixed<'a, T::Param>,
    pub gamma: Option<&'a [T::Param]>,
    pub beta: Option<&'a [T::Param]>,
    pub tail: Tail<'a, T>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardCall<'a, T: Element> {
    pub problem: Problem,
    pub dy: &'a [T],
    pub from: From<'a, T>,
    pub mean: &'a [f64],
    pub inv_std: &'a [f64],
    pub dependence: Dependence,
    pub mask: Option<MaskOf<'a>>,
    pub gamma: Option<&'a [T::Param]>,
    pub passed: Passed<'a, T>,
    /// Which of dgamma, dbeta and dresidual are asked for.
    pub wanted: [bool; 3],
}

impl<'a, T: Element> BackwardCall<'a, T> {
    /// dx, dgamma and dbeta through batch statistics.
    pub(crate) fn new(
        problem: Problem,
        dy: &'a [T],
        from: From<'a, T>,
        mean: &'a [f64],
        inv_std: &'a [f64],
    ) -> Self {
        Self {
            problem,
            dy,
            from,
            mean,
            inv_std,
            dependence: Dependence::Batch,
            mask: None,
            gamma: None,
            passed: Passed::All,
            wanted: [true, true, false],
        }
    }
}

#[derive(Debug)]
pub(crate) struct BackwardOut<T: Element> {
    pub dx: Vec<T>,
    pub dgamma: Option<Vec<T::Param>>,
    pub dbeta: Option<Vec<T::Param>>,
    pub dresidual: Option<Vec<T>>,
}

/// A backend's operations on `T` tensors, with host data in and out.
pub(crate) trait Operations<T: Element>: Send + Sync {
    fn name(&self) -> &'static str;
    fn capabilities(&self) -> Capabilities;
    /// Whether buffers can start at odd addresses, and stand between canaries.
    fn has_slices(&self) -> bool;
    fn moments(&self, call: &MomentsCall<'_, T>, how: How) -> Called<MomentsOut>;
    fn normalize(&self, call: &NormalizeCall<'_, T>, how: How) -> Called<NormalizeOut<T>>;
    fn reduce(&self, call: &ReduceCall<'_, T>, how: How) -> Called<ReduceOut>;
    fn apply(&self, call: &ApplyCall<'_, T>, how: How) -> Called<ApplyOut<T>>;
    fn training(&self, call: &TrainingCall<'_, T>, how: How) -> Called<ForwardOut<T>>;
    fn inference(&self, call: &InferenceCall<'_, T>, how: How) -> Called<ForwardOut<T>>;
    fn backward(&self, call: &BackwardCall<'_, T>, how: How) -> Called<BackwardOut<T>>;
    /// Lets moments enter running statistics through the backend's memory.
    fn absorb(
        &self,
        moments: &[ChannelMoments],
        update: Update<'_, T::Param>,
        how: How,
    ) -> Called<Running<T::Param>>;
}
