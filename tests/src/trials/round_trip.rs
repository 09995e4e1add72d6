//! The trial that most layers are made of: forward and backward of one configuration, every output held
//! against the reference.

use bn_core::{
    Dependence, Element, Feature, Momentum, Problem, RunningVariance, Seen, SingleValue,
};

use crate::call::{
    BackwardCall, BackwardOut, Fixed, ForwardOut, From, How, InferenceCall, MaskOf, Operations,
    Passed, Tail, TrainingCall, Update,
};
use crate::compare::{Expected, Verdict, ensure, same_bits, same_bits_option};
use crate::data::{Case, narrow, wide};
use crate::expect::{Affine, BackwardInputs, ExpectedStatistics, expected_running, expected_y};
use crate::reference::{Backward, Moments, pack_bits};

/// Which statistics normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Train,
    Eval,
    Given,
}

/// What is fused behind the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fused {
    None,
    Relu,
    ReluBits,
    AddRelu,
    AddReluBits,
}

impl Fused {
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Relu, Self::ReluBits, Self::AddRelu, Self::AddReluBits];

    pub(crate) fn tail<T>(self, residual: &[T]) -> Tail<'_, T> {
        match self {
            Self::None => Tail::None,
            Self::Relu => Tail::Relu { bits: false },
            Self::ReluBits => Tail::Relu { bits: true },
            Self::AddRelu => Tail::AddRelu { residual, bits: false },
            Self::AddReluBits => Tail::AddRelu { residual, bits: true },
        }
    }

    pub(crate) fn adds(self) -> bool {
        matches!(self, Self::AddRelu | Self::AddReluBits)
    }

    fn has_bits(self) -> bool {
        matches!(self, Self::ReluBits | Self::AddReluBits)
    }

    pub(crate) fn needs(self) -> Vec<Feature> {
        match self {
            Self::None => vec![],
            Self::Relu => vec![Feature::Relu],
            Self::ReluBits => vec![Feature::Relu, Feature::ActivationBits],
            // Backward from y is a matter of the ReLU, whatever was added before it.
            Self::AddRelu => vec![Feature::AddRelu, Feature::Relu],
            Self::AddReluBits => vec![Feature::AddRelu, Feature::Relu, Feature::ActivationBits],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Relu => "relu",
            Self::ReluBits => "relu+bits",
            Self::AddRelu => "add-relu",
            Self::AddReluBits => "add-relu+bits",
        }
    }
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub problem: Problem,
    pub mode: Mode,
    pub mask: bool,
    pub gamma: bool,
    pub beta: bool,
    pub fused: Fused,
    pub how: How,
}

impl Setup {
    /// Training with gamma and beta, out of place.
    pub(crate) fn training(problem: Problem) -> Self {
        Self {
            problem,
            mode: Mode::Train,
            mask: false,
            gamma: true,
            beta: true,
            fused: Fused::None,
            how: How::default(),
        }
    }

    pub(crate) fn needs(&self) -> Vec<Feature> {
        let groups = self.problem.groups() > 1 && self.mode != Mode::Eval;
        let mut needs = vec![Feature::from(self.problem.layout())];
        needs.extend(groups.then_some(Feature::Groups));
        needs.extend(self.mask.then_some(Feature::Mask));
        needs.extend(self.how.in_place.then_some(Feature::InPlace));
        needs.extend(self.fused.needs());
        needs
    }

    /// `train+mask/gamma+beta/relu+bits/in-place`.
    pub(crate) fn name(&self) -> String {
        let mode = match self.mode {
            Mode::Train => "train",
            Mode::Eval => "eval",
            Mode::Given => "given",
        };
        let groups = match self.problem.groups() {
            1 => String::new(),
            groups => format!("+groups{groups}"),
        };
        let mask = if self.mask { "+mask" } else { "" };
        let affine = match (self.gamma, self.beta) {
            (true, true) => "gamma+beta",
            (true, false) => "gamma",
            (false, true) => "beta",
            (false, false) => "bare",
        };
        let place = if self.how.in_place { "in-place" } else { "out-of-place" };
        format!("{mode}{groups}{mask}/{affine}/{}/{place}", self.fused.name())
    }

    fn dependence(&self) -> Dependence {
        if self.mode == Mode::Train { Dependence::Batch } else { Dependence::Fixed }
    }

    /// The problem as backward knows it: running statistics have no groups.
    fn effective(&self) -> Problem {
        if self.mode == Mode::Eval { self.problem.ungrouped() } else { self.problem }
    }

    /// Forward and backward of `case`, judged.
    pub(crate) fn check<T: Element>(
        &self,
        operations: &dyn Operations<T>,
        case: &Case<T>,
    ) -> Verdict {
        let reference = References::new(case, self);
        let statistics = reference.statistics();
        let y = self.check_forward(operations, case, &reference, &statistics)?;
        self.check_backward(operations, case, &reference, &statistics, &y)
            .map_err(|wrong| format!("backward: {wrong}"))
    }

    pub(crate) fn forward<T: Element>(
        &self,
        operations: &dyn Operations<T>,
        case: &Case<T>,
        how: How,
    ) -> Result<ForwardOut<T>, String> {
        let Setup { problem, .. } = *self;
        let gamma = self.gamma.then_some(&case.gamma[..]);
        let beta = self.beta.then_some(&case.beta[..]);
        let (x, tail) = (&case.x[..], self.fused.tail(&case.residual));
        let fixed = match self.mode {
            Mode::Train => {
                let mask = self.mask.then_some(MaskOf { problem, bytes: &case.mask });
                let update = Some(update(case));
                let (eps, single_value) = (case.eps, SingleValue::Refuse);
                let call =
                    TrainingCall { problem, x, mask, gamma, beta, eps, tail, update, single_value };
                return operations.training(&call, how)?.written();
            }
            Mode::Eval => {
                let (mean, var) = (&case.running.mean[..], &case.running.var[..]);
                Fixed::Running { mean, var, scale: 1.0, eps: case.eps }
            }
            Mode::Given => Fixed::Given { mean: &case.given.0, inv_std: &case.given.1 },
        };
        let call = InferenceCall { problem, x, fixed, gamma, beta, tail };
        operations.inference(&call, how)?.written()
    }

    /// Forward, and backward through what it saved, unjudged: for trials that compare two answers.
    pub(crate) fn both<T: Element>(
        &self,
        operations: &dyn Operations<T>,
        case: &Case<T>,
        how: How,
    ) -> Result<(ForwardOut<T>, BackwardOut<T>), String> {
        let forward = self.forward(operations, case, how)?;
        let problem = self.effective();
        let passed = match (self.fused, &forward.bits) {
            (Fused::None, _) => Passed::All,
            (_, Some(bits)) => Passed::Bits(bits),
            (_, None) => Passed::Output(&forward.y),
        };
        let (from, mean, inv_std) = (From::Input(&case.x[..]), &forward.mean, &forward.inv_std);
        let call = BackwardCall {
            dependence: self.dependence(),
            mask: self.mask.then_some(MaskOf { problem, bytes: &case.mask }),
            gamma: self.gamma.then_some(&case.gamma[..]),
            passed,
            wanted: [self.gamma, self.beta, self.fused.adds()],
            ..BackwardCall::new(problem, &case.dy, from, mean, inv_std)
        };
        let backward = operations.backward(&call, how)?.written()?;
        Ok((forward, backward))
    }

    /// Judges forward; returns y as the reference has it, in the element type.
    fn check_forward<T: Element>(
        &self,
        operations: &dyn Operations<T>,
        case: &Case<T>,
        reference: &References,
        statistics: &ExpectedStatistics,
    ) -> Result<Vec<T>, String> {
        let found = self.forward(operations, case, self.how)?;
        let expected = reference.y(&self.effective(), T::DTYPE, statistics);
        statistics.mean().meets("save_mean", &found.mean)?;
        statistics.inv_std().meets("save_inv_std", &found.inv_std)?;
        expected.meets("y", &found.y)?;
        if self.fused.has_bits() {
            let open: Vec<bool> = found.y.iter().map(|y| passes(y.to_f64())).collect();
            let bits = found.bits.as_deref().unwrap_or_default();
            same_bits("bits (of what y let through)", bits, &pack_bits(&self.problem, &open))?;
        }
        if self.mode == Mode::Train {
            self.check_running(case, reference, &found)?;
        }
        if self.how.in_place {
            let apart = self.forward(operations, case, How { in_place: false, ..self.how })?;
            same_forward(&found, &apart).map_err(|wrong| format!("in place: {wrong}"))?;
        }
        Ok(narrow(&expected.values))
    }

    fn check_running<T: Element>(
        &self,
        case: &Case<T>,
        reference: &References,
        found: &ForwardOut<T>,
    ) -> Verdict {
        let mask = self.mask.then_some(&case.mask[..]);
        let update = update(case);
        let (mean, var) = expected_running::<T>(&self.problem, &reference.x, mask, &update);
        let running = found.running.as_ref().ok_or("running statistics are gone")?;
        mean.meets("running_mean", &running.mean)?;
        var.meets("running_var", &running.var)?;
        let seen = Seen { batches: case.running.seen.batches + 1, ..case.running.seen };
        ensure(running.seen == seen, || format!("seen is {:?}; expected {seen:?}", running.seen))
    }

    fn check_backward<T: Element>(
        &self,
        operations: &dyn Operations<T>,
        case: &Case<T>,
        reference: &References,
        statistics: &ExpectedStatistics,
        y: &[T],
    ) -> Verdict {
        let problem = self.effective();
        let (mean, inv_std) = (statistics.mean().values, statistics.inv_std().values);
        let open: Vec<bool> = y.iter().map(|y| passes(y.to_f64())).collect();
        let dy = wide(&case.dy);
        let mask = self.mask.then_some(&case.mask[..]);
        let inputs = Backward {
            problem: &problem,
            dy: &dy,
            open: (self.fused != Fused::None).then_some(&open),
            saved: (&reference.x, false),
            mean: &mean,
            inv_std: &inv_std,
            gamma: reference.gamma.as_deref(),
            dependence: self.dependence(),
            mask,
        };
        let expected = BackwardInputs { inputs, dtype: T::DTYPE }.expected();
        let bits = pack_bits(&problem, &open);
        let passed = match self.fused {
            Fused::None => Passed::All,
            Fused::Relu | Fused::AddRelu => Passed::Output(y),
            Fused::ReluBits | Fused::AddReluBits => Passed::Bits(&bits),
        };
        let call = BackwardCall {
            dependence: self.dependence(),
            mask: mask.map(|bytes| MaskOf { problem, bytes }),
            gamma: self.gamma.then_some(&case.gamma[..]),
            passed,
            wanted: [self.gamma, self.beta, self.fused.adds()],
            ..BackwardCall::new(problem, &case.dy, From::Input(&case.x), &mean, &inv_std)
        };
        let found = operations.backward(&call, self.how)?.written()?;
        expected.dx.meets("dx", &found.dx)?;
        meets_if(&expected.dgamma, "dgamma", found.dgamma.as_deref(), self.gamma)?;
        meets_if(&expected.dbeta, "dbeta", found.dbeta.as_deref(), self.beta)?;
        meets_if(&expected.dresidual, "dresidual", found.dresidual.as_deref(), self.fused.adds())?;
        if self.how.in_place {
            let apart = operations.backward(&call, How { in_place: false, ..self.how })?;
            same_bits("in place: dx", &found.dx, &apart.written()?.dx)?;
        }
        Ok(())
    }
}

/// Whether an element passed the ReLU, from its y: the suite's own words for it.
pub(crate) fn passes(y: f64) -> bool {
    y > 0.0 || y.is_nan()
}

/// The running update that round trips make.
pub(crate) fn update<T: Element>(case: &Case<T>) -> Update<'_, T::Param> {
    let (momentum, variance) = (Momentum::New(0.3), RunningVariance::Unbiased);
    Update { before: &case.running, momentum, variance }
}

fn meets_if<E: Element>(
    expected: &Expected,
    name: &str,
    found: Option<&[E]>,
    wanted: bool,
) -> Verdict {
    match found {
        Some(found) => expected.meets(name, found),
        None => ensure(!wanted, || format!("{name} is gone")),
    }
}

/// Whether two forwards are the same bits in every output.
pub(crate) fn same_forward<T: Element>(found: &ForwardOut<T>, expected: &ForwardOut<T>) -> Verdict {
    same_bits("save_mean", &found.mean, &expected.mean)?;
    same_bits("save_inv_std", &found.inv_std, &expected.inv_std)?;
    same_bits("y", &found.y, &expected.y)?;
    same_bits_option("bits", found.bits.as_deref(), expected.bits.as_deref())?;
    let running = |out: &ForwardOut<T>| {
        let parts = out.running.as_ref().map(|running| [&running.mean[..], &running.var].concat());
        parts.unwrap_or_default()
    };
    same_bits("running statistics", &running(found), &running(expected))
}

/// Whether two backwards are the same bits in every output.
pub(crate) fn same_backward<T: Element>(
    found: &BackwardOut<T>,
    expected: &BackwardOut<T>,
) -> Verdict {
    same_bits("dx", &found.dx, &expected.dx)?;
    same_bits_option("dgamma", found.dgamma.as_deref(), expected.dgamma.as_deref())?;
    same_bits_option("dbeta", found.dbeta.as_deref(), expected.dbeta.as_deref())?;
    same_bits_option("dresidual", found.dresidual.as_deref(), expected.dresidual.as_deref())
}

/// The inputs of a case as the reference takes them.
struct References {
    x: Vec<f64>,
    gamma: Option<Vec<f64>>,
    beta: Option<Vec<f64>>,
    residual: Option<Vec<f64>>,
    relu: bool,
    statistics: ExpectedStatistics,
}

impl References {
    fn new<T: Element>(case: &Case<T>, setup: &Setup) -> Self {
        let x = wide(&case.x);
        let statistics = match setup.mode {
            Mode::Train => {
                let mask = setup.mask.then_some(&case.mask[..]);
                let moments = Moments::of(&setup.problem, &x, mask);
                ExpectedStatistics::of_batch(&moments, case.eps, T::DTYPE)
            }
            Mode::Eval => {
                let (mean, var) = (wide(&case.running.mean), wide(&case.running.var));
                ExpectedStatistics::running(&mean, &var, 1.0, case.eps)
            }
            Mode::Given => ExpectedStatistics::given(&case.given.0, &case.given.1),
        };
        Self {
            x,
            gamma: setup.gamma.then(|| wide(&case.gamma)),
            beta: setup.beta.then(|| wide(&case.beta)),
            residual: setup.fused.adds().then(|| wide(&case.residual)),
            relu: setup.fused != Fused::None,
            statistics,
        }
    }

    fn statistics(&self) -> ExpectedStatistics {
        self.statistics.clone()
    }

    fn y(
        &self,
        problem: &Problem,
        dtype: bn_core::DType,
        statistics: &ExpectedStatistics,
    ) -> Expected {
        let affine = Affine {
            gamma: self.gamma.as_deref(),
            beta: self.beta.as_deref(),
            residual: self.residual.as_deref(),
            relu: self.relu,
        };
        expected_y(problem, dtype, statistics, &self.x, affine)
    }
}
