//! The operands of each kernel, typed and checked, as the struct that it takes.
//!
//! What a kernel may touch follows from its shape: a [`Plan`] is made from a problem, and each function here
//! asserts that every operand has the length which that problem gives it.

use bn_core::{Blend, Element, RunningVariance};

use crate::arguments::{
    FinishMomentsArguments, FinishSumsArguments, GradientArguments, MomentsArguments,
    NormalizeArguments, SumsArguments,
};
use crate::memory::{ReadWrite, Values, ValuesMut};
use crate::plan::Plan;

/// The doubles of a part's moments, of the deviations that a block adds up to them, and of its gradient sums.
pub(crate) const MOMENTS: usize = 4;
pub(crate) const DEVIATIONS: usize = 3;
pub(crate) const SUMS: usize = 2;
/// Those of what a column has come to in a cluster: beside moments a channel's four and two running statistics, beside
/// sums the five slopes.
pub(crate) const SETTLED_MOMENTS: usize = MOMENTS + 4 + 2;
pub(crate) const SETTLED_SUMS: usize = SUMS + 5;

/// The statistics that a normalisation reads.
pub(crate) enum Statistics<'a, P> {
    Batch { mean: Values<'a, f64>, inv_std: Values<'a, f64> },
    Running { mean: Values<'a, P>, var: Values<'a, P>, scale: f64, eps: f64 },
}

/// What follows a normalisation.
pub(crate) enum Tail<'a, T> {
    None,
    Relu { bits: Option<ValuesMut<'a, u8>> },
    AddRelu { residual: Values<'a, T>, bits: Option<ValuesMut<'a, u8>> },
}

/// What tells which elements passed.
#[derive(Clone, Copy)]
pub(crate) enum Passed<'a, T> {
    All,
    Output(Values<'a, T>),
    Bits(Values<'a, u8>),
}

/// x or x̂.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a, T> {
    pub(crate) values: Values<'a, T>,
    pub(crate) is_normalized: bool,
}

/// What dx takes away for the statistics' dependence on x.
pub(crate) struct Through<'a, T> {
    pub(crate) saved: Saved<'a, T>,
    pub(crate) mean: Values<'a, f64>,
    /// `sum_dy` and `sum_dy_xhat`; none where they are taken later, or by the same launch.
    pub(crate) sums: Option<[Values<'a, f64>; 2]>,
    /// What the sums are divided by, unless each group is given one of its own.
    pub(crate) count: f64,
    pub(crate) mask: Option<Values<'a, u8>>,
}

/// Where the statistics of a batch go.
pub(crate) enum Taken<'a> {
    Moments { mean: ValuesMut<'a, f64>, m2: ValuesMut<'a, f64> },
    Normalizer { mean: ValuesMut<'a, f64>, inv_std: ValuesMut<'a, f64>, eps: f64 },
}

/// Running statistics and how a batch enters them.
pub(crate) struct Running<'a, P> {
    pub(crate) mean: ValuesMut<'a, P>,
    pub(crate) var: ValuesMut<'a, P>,
    pub(crate) blend: Blend,
    pub(crate) variance: RunningVariance,
}

/// Of the moments of each part, which are to be stored [somewhere](moments_through) or stay on the chip.
pub(crate) fn moments<T: Element>(
    plan: &Plan,
    x: Values<'_, T>,
    mask: Option<Values<'_, u8>>,
) -> MomentsArguments {
    MomentsArguments {
        shape: plan.shape,
        x: x.of(plan.problem.elements()),
        mask: optional(mask, plan.problem.positions()),
        partials: 0,
    }
}

/// The moments of the parts go through memory: `MOMENTS` doubles each.
pub(crate) fn moments_through(
    plan: &Plan,
    partials: &mut ValuesMut<'_, f64>,
    moments: &mut MomentsArguments,
    finish: &mut FinishMomentsArguments,
) {
    moments.partials = partials.of(MOMENTS * plan.partials());
    finish.partials = moments.partials;
}

/// Of the gradient sums of each part, which are to be stored [somewhere](sums_through) or stay on the chip.
pub(crate) fn sums<T: Element>(
    plan: &Plan,
    dy: Values<'_, T>,
    passed: Passed<'_, T>,
    saved: Saved<'_, T>,
    [mean, inv_std]: [Values<'_, f64>; 2],
) -> SumsArguments {
    let [gate_y, gate_bits] = gate(plan, passed);
    let statistics = plan.problem.statistics();
    SumsArguments {
        shape: plan.shape,
        dy: dy.of(plan.problem.elements()),
        x: saved.values.of(plan.problem.elements()),
        gate_y,
        gate_bits,
        mean: mean.of(statistics),
        inv_std: inv_std.of(statistics),
        partials: 0,
        is_normalized: saved.is_normalized.into(),
    }
}

/// The sums of the parts go through memory: `SUMS` doubles each.
pub(crate) fn sums_through(
    plan: &Plan,
    partials: &mut ValuesMut<'_, f64>,
    sums: &mut SumsArguments,
    finish: &mut FinishSumsArguments,
) {
    sums.partials = partials.of(SUMS * plan.partials());
    finish.partials = sums.partials;
}

/// Of y, and bits where the tail has them.
pub(crate) fn normalize<T: Element>(
    plan: &Plan,
    mut io: ReadWrite<'_, T>,
    statistics: Statistics<'_, T::Param>,
    gamma: Option<Values<'_, T::Param>>,
    beta: Option<Values<'_, T::Param>>,
    tail: Tail<'_, T>,
) -> NormalizeArguments {
    let problem = &plan.problem;
    let (all, channels) = (problem.elements(), problem.channels());
    let [x, y] = io.of(all);
    let ([mean, inv_std], [running_mean, running_var], [scale, eps]) = match statistics {
        Statistics::Batch { mean, inv_std } => {
            let of = |values: Values<'_, f64>| values.of(problem.statistics());
            ([of(mean), of(inv_std)], [0; 2], [1.0, 0.0])
        }
        Statistics::Running { mean, var, scale, eps } => {
            assert_eq!(problem.groups(), 1, "running statistics know no groups");
            ([0; 2], [mean.of(channels), var.of(channels)], [scale, eps])
        }
    };
    let (residual, bits, epilogue) = match tail {
        Tail::None => (0, None, 0),
        Tail::Relu { bits } => (0, bits, 1),
        Tail::AddRelu { residual, bits } => (residual.of(all), bits, 2),
    };
    NormalizeArguments {
        shape: plan.shape,
        x,
        y,
        mean,
        inv_std,
        running_mean,
        running_var,
        scale,
        eps,
        gamma: optional(gamma, channels),
        beta: optional(beta, channels),
        residual,
        bits: bits.map_or(0, |mut bits| bits.of(problem.bits_len())),
        epilogue,
    }
}

/// Of dx, and the residual's gradient where there is one.
pub(crate) fn gradient<T: Element>(
    plan: &Plan,
    mut io: ReadWrite<'_, T>,
    passed: Passed<'_, T>,
    dresidual: Option<ValuesMut<'_, T>>,
    inv_std: Values<'_, f64>,
    gamma: Option<Values<'_, T::Param>>,
    through: Option<Through<'_, T>>,
) -> GradientArguments {
    let problem = &plan.problem;
    let (all, statistics) = (problem.elements(), problem.statistics());
    let ([dy, dx], [gate_y, gate_bits]) = (io.of(all), gate(plan, passed));
    let mut arguments = GradientArguments {
        shape: plan.shape,
        dy,
        dx,
        x: 0,
        gate_y,
        gate_bits,
        dresidual: dresidual.map_or(0, |mut dresidual| dresidual.of(all)),
        mean: 0,
        inv_std: inv_std.of(statistics),
        gamma: optional(gamma, problem.channels()),
        sum_dy: 0,
        sum_dy_xhat: 0,
        counts: 0,
        count: 1.0,
        mask: 0,
        is_normalized: 0,
    };
    if let Some(through) = through {
        arguments.x = through.saved.values.of(all);
        arguments.is_normalized = through.saved.is_normalized.into();
        arguments.mean = through.mean.of(statistics);
        let sum = |sum: Values<'_, f64>| sum.of(statistics);
        [arguments.sum_dy, arguments.sum_dy_xhat] =
            through.sums.map_or([0; 2], |sums| sums.map(sum));
        arguments.mask = optional(through.mask, problem.positions());
        arguments.count = through.count;
    }
    arguments
}

/// Of what the moments of the parts are merged to; `P` is the type of the running statistics.
pub(crate) fn finish_moments<P: Element>(
    plan: &Plan,
    taken: Taken<'_>,
    running: Option<Running<'_, P>>,
) -> FinishMomentsArguments {
    let (statistics, channels) = (plan.problem.statistics(), plan.problem.channels());
    let (mean, m2, inv_std, eps) = match taken {
        Taken::Moments { mut mean, mut m2 } => (mean.of(statistics), m2.of(statistics), 0, 0.0),
        Taken::Normalizer { mut mean, mut inv_std, eps } => {
            (mean.of(statistics), 0, inv_std.of(statistics), eps)
        }
    };
    let mut arguments = FinishMomentsArguments {
        groups: plan.problem.groups() as u64,
        channels: channels as u64,
        parts: plan.parts() as u64,
        partials: 0,
        mean,
        m2,
        inv_std,
        eps,
        running_mean: 0,
        running_var: 0,
        keep: 1.0,
        add: 0.0,
        rounds_product: 0,
        is_unbiased: 0,
    };
    if let Some(mut running) = running {
        arguments.running_mean = running.mean.of(channels);
        arguments.running_var = running.var.of(channels);
        arguments.keep = running.blend.keep;
        arguments.add = running.blend.add;
        arguments.rounds_product = running.blend.rounds_product.into();
        arguments.is_unbiased = (running.variance == RunningVariance::Unbiased).into();
    }
    arguments
}

/// Of the sums of the parts added up, and the groups' to dgamma and dbeta.
pub(crate) fn finish_sums<P: Element>(
    plan: &Plan,
    sums: Option<[&mut ValuesMut<'_, f64>; 2]>,
    [dgamma, dbeta]: [Option<&mut ValuesMut<'_, P>>; 2],
) -> FinishSumsArguments {
    let (statistics, channels) = (plan.problem.statistics(), plan.problem.channels());
    let [sum_dy, sum_dy_xhat] = sums.map_or([0; 2], |sums| sums.map(|sum| sum.of(statistics)));
    FinishSumsArguments {
        groups: plan.problem.groups() as u64,
        channels: channels as u64,
        parts: plan.parts() as u64,
        partials: 0,
        sum_dy,
        sum_dy_xhat,
        dgamma: optional_mut(dgamma, channels),
        dbeta: optional_mut(dbeta, channels),
    }
}

/// The sums of the groups go through memory, from the parts to the gradient.
pub(crate) fn of_sums(
    plan: &Plan,
    sums: [ValuesMut<'_, f64>; 2],
    finish: &mut FinishSumsArguments,
    gradient: &mut GradientArguments,
) {
    let [sum_dy, sum_dy_xhat] = sums.map(|mut sum| sum.of(plan.problem.statistics()));
    (finish.sum_dy, finish.sum_dy_xhat) = (sum_dy, sum_dy_xhat);
    (gradient.sum_dy, gradient.sum_dy_xhat) = (sum_dy, sum_dy_xhat);
}

/// The address of values that may not be there.
fn optional<E>(values: Option<Values<'_, E>>, len: usize) -> u64 {
    values.map_or(0, |values| values.of(len))
}

fn optional_mut<E>(values: Option<&mut ValuesMut<'_, E>>, len: usize) -> u64 {
    values.map_or(0, |values| values.of(len))
}

fn gate<T>(plan: &Plan, passed: Passed<'_, T>) -> [u64; 2] {
    match passed {
        Passed::All => [0, 0],
        Passed::Output(y) => [y.of(plan.problem.elements()), 0],
        Passed::Bits(bits) => [0, bits.of(plan.problem.bits_len())],
    }
}
