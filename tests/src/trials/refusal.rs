//! Layer `refusal`: what a backend says it lacks it refuses, in every operation that could ask for it, by
//! its own name and reason, before anything is written.

use bn_core::{Element, Error, Feature, Layout, Problem};

use super::problem;
use crate::call::{
    ApplyCall, BackwardCall, Fixed, From, How, InferenceCall, MaskOf, MomentsCall, NormalizeCall,
    Operations, Passed, ReduceCall, Reply, Sums, Tail, TrainingCall,
};
use crate::compare::{Verdict, ensure};
use crate::data::Case;
use crate::trial::{Plan, Subject};

const SHAPE: [usize; 4] = [4, 3, 2, 5];

/// One trial for each feature that the backend lacks.
pub(crate) fn all<T: Element>(plan: &mut Plan<T>) {
    let Subject::Here(operations) = plan.subject() else { return };
    let capabilities = operations.capabilities();
    for feature in Feature::ALL.into_iter().filter(|&feature| !capabilities.supports(feature)) {
        let name = format!("refusal/{}/{}", T::DTYPE, feature.name().replace(' ', "-"));
        plan.add(name, [], move |operations| {
            let request = Asked::of(operations, feature);
            each(operations, &request, |operation, error| {
                let (backend, reason) = (operations.name(), capabilities.refusal(feature));
                let reason = reason.unwrap_or_default();
                let right = Error::Unsupported { backend, feature, reason };
                // A request for the feature may need another one that is lacking as well.
                let lacks_another = matches!(error, Error::Unsupported { feature, .. }
                    if !capabilities.supports(feature) && request.needs().contains(&feature));
                ensure(error == right || lacks_another, || {
                    format!("{operation} says “{error}”; expected “{right}”")
                })
            })
        });
    }
}

/// One trial that an element type which the backend does not compute in is refused by each operation.
pub(crate) fn of_element<T: Element>(plan: &mut Plan<T>) {
    plan.add(format!("refusal/{}/element", T::DTYPE), [], |operations| {
        let layouts = Layout::ALL.into_iter();
        let mut supported =
            layouts.filter(|&layout| operations.capabilities().supports(layout.into()));
        let layout = supported.next().unwrap_or(Layout::ChannelsLast);
        let request = Asked { feature: Feature::from(layout), problem: problem(&SHAPE, layout) };
        each(operations, &request, |operation, error| {
            let names_it = matches!(&error, Error::UnsupportedElement { backend, dtype, .. }
                if *backend == operations.name() && *dtype == T::DTYPE);
            ensure(names_it, || format!("{operation} says “{error}”; expected UnsupportedElement"))
        })
    });
}

/// A feature that is asked for, in a layout that the backend has unless that is the feature.
struct Asked {
    feature: Feature,
    problem: Problem,
}

impl Asked {
    fn of<T: Element>(operations: &dyn Operations<T>, feature: Feature) -> Self {
        let capabilities = operations.capabilities();
        let supported = |layout: &Layout| capabilities.supports((*layout).into());
        let layout = match feature {
            Feature::ChannelsFirst => Layout::ChannelsFirst,
            Feature::ChannelsLast => Layout::ChannelsLast,
            _ => Layout::ALL.into_iter().find(supported).unwrap_or(Layout::ChannelsLast),
        };
        let problem = problem(&SHAPE, layout);
        let groups = if feature == Feature::Groups { 2 } else { 1 };
        Self { feature, problem: problem.with_groups(groups).expect("a divisor of the batch") }
    }

    fn needs(&self) -> [Feature; 4] {
        let relu = match self.feature {
            Feature::ActivationBits => Feature::Relu,
            feature => feature,
        };
        [self.feature, relu, self.problem.layout().into(), self.feature]
    }

    /// Whether an operation can be asked for the feature.
    fn concerns(&self, operation: &str) -> bool {
        let any_of = |operations: &[&str]| operations.contains(&operation);
        match self.feature {
            Feature::ChannelsFirst | Feature::ChannelsLast => true,
            Feature::Groups => true,
            Feature::InPlace => !any_of(&["moments", "backward_reduce"]),
            Feature::Relu | Feature::ActivationBits => operation != "moments",
            Feature::AddRelu => !any_of(&["moments", "backward_reduce"]),
            Feature::Normalized => any_of(&["backward_reduce", "backward_apply", "backward"]),
            Feature::Mask => any_of(&["moments", "backward_apply", "forward_training", "backward"]),
        }
    }
}

/// Makes every call that can ask for the feature, and judges its error.
fn each<T: Element>(
    operations: &dyn Operations<T>,
    asked: &Asked,
    judge: impl Fn(&str, Error) -> Verdict,
) -> Verdict {
    let (problem, feature) = (asked.problem, asked.feature);
    let case = Case::<T>::new(problem, "refusal");
    let Case { x, dy, residual, mask, given: (mean, inv_std), .. } = &case;
    let how = How { in_place: feature == Feature::InPlace, ..How::default() };
    let mask = (feature == Feature::Mask).then_some(MaskOf { problem, bytes: mask });
    let tail = match feature {
        Feature::Relu => Tail::Relu { bits: false },
        Feature::ActivationBits => Tail::Relu { bits: true },
        Feature::AddRelu => Tail::AddRelu { residual, bits: false },
        _ => Tail::None,
    };
    let bits = vec![0; problem.bits_len()];
    let passed = match feature {
        Feature::Relu => Passed::Output(residual),
        Feature::ActivationBits => Passed::Bits(&bits),
        _ => Passed::All,
    };
    let from = match feature {
        Feature::Normalized => From::Normalized(x),
        _ => From::Input(&x[..]),
    };
    let dresidual = feature == Feature::AddRelu;
    let counts = vec![problem.count(); problem.groups()];
    let sums = Sums { from, mean, sum_dy: mean, sum_dy_xhat: inv_std, counts: &counts, mask };
    let (gamma, beta) = (None, None);
    let fixed = Fixed::Given { mean, inv_std };

    let judged = |operation: &str, reply: Result<Error, String>| {
        if !asked.concerns(operation) {
            return Ok(());
        }
        judge(operation, reply.map_err(|wrong| format!("{operation}: {wrong}"))?)
    };
    let refused = |error: Result<Reply<()>, String>| error?.refused();
    let moments = MomentsCall { problem, x, mask };
    judged("moments", refused(operations.moments(&moments, how).map(bare)))?;
    let normalize = NormalizeCall { problem, x, mean, inv_std, gamma, beta, tail };
    judged("normalize", refused(operations.normalize(&normalize, how).map(bare)))?;
    let reduce = ReduceCall { problem, dy, passed, from, mean, inv_std };
    judged("backward_reduce", refused(operations.reduce(&reduce, how).map(bare)))?;
    let sums = Some(sums);
    let apply = ApplyCall { problem, dy, passed, dresidual, inv_std, gamma, sums };
    judged("backward_apply", refused(operations.apply(&apply, how).map(bare)))?;
    let training = TrainingCall { mask, tail, ..TrainingCall::new(problem, x) };
    judged("forward_training", refused(operations.training(&training, how).map(bare)))?;
    let inference = InferenceCall { problem, x, fixed, gamma, beta, tail };
    judged("forward_inference", refused(operations.inference(&inference, how).map(bare)))?;
    let wanted = [true, true, dresidual];
    let backward = BackwardCall {
        mask,
        passed,
        wanted,
        ..BackwardCall::new(problem, dy, from, mean, inv_std)
    };
    judged("backward", refused(operations.backward(&backward, how).map(bare)))
}

/// A reply without its outputs.
fn bare<O>(reply: Reply<O>) -> Reply<()> {
    Reply { outcome: reply.outcome, outputs: (), touched: reply.touched }
}
