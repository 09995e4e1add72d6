//! Backward: the two sums of each channel, and dx from them.

use bn_core::{
    BackwardApply, BackwardReduce, Correction, Element, Gate, HostMemory, Problem, passes,
};

use crate::view;

type Index = (usize, usize, usize);

/// Σ dy and Σ dy·x̂, over all values of each group and channel.
pub(crate) fn reduce<T: Element>(request: BackwardReduce<'_, T, HostMemory>) {
    let BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat } = request;
    sum_dy.fill(0.0);
    sum_dy_xhat.fill(0.0);
    let x = view::tensor(&problem, saved.buffer());
    for (index, dy) in view::tensor(&problem, dy).indexed_iter() {
        let (n, c, _) = index;
        let of = problem.statistic(n, c);
        let (mean, inv_std) = saved.normalizer(mean[of], inv_std[of]);
        let x_hat = (x[index].to_f64() - mean) * inv_std;
        let dy = if is_open(&problem, &gate, index) { dy.to_f64() } else { 0.0 };
        sum_dy[of] += dy;
        sum_dy_xhat[of] += dy * x_hat;
    }
}

/// dx = gamma·(dy − mean(dy) − x̂·mean(dy·x̂))·inv_std, or gamma·dy·inv_std where statistics were fixed.
///
/// The derivation has g = gamma·dy under the means; gamma is one factor of the whole channel, so it
/// may stand outside.
pub(crate) fn apply<T: Element>(request: BackwardApply<'_, T, HostMemory>) {
    let BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction } = request;
    let gamma = |c: usize| gamma.map_or(1.0, |gamma| gamma[c].to_f64());

    // mean(dy) + x̂·mean(dy·x̂): how dy reaches dx by way of the statistics.
    let through_statistics = |(n, c, s): Index| match &correction {
        Correction::Fixed => 0.0,
        Correction::Batch { valid: Some(valid), .. }
            if valid.mask()[n * problem.spatial() + s] == 0 =>
        {
            0.0
        }
        Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, .. } => {
            let of = problem.statistic(n, c);
            let count = counts.of(n / problem.group_batch()) as f64;
            let (mean, inv_std) = saved.normalizer(mean[of], inv_std[of]);
            let x_hat = (saved.buffer()[problem.offset(n, c, s)].to_f64() - mean) * inv_std;
            sum_dy[of] / count + x_hat * (sum_dy_xhat[of] / count)
        }
    };

    let mut dresidual = dresidual.map(|dresidual| view::tensor_mut(&problem, dresidual));
    view::map(&problem, io, |index, dy| {
        let (n, c, _) = index;
        let dy = if is_open(&problem, &gate, index) { dy } else { T::default() };
        if let Some(dresidual) = &mut dresidual {
            dresidual[index] = dy;
        }
        let scale = gamma(c) * inv_std[problem.statistic(n, c)];
        T::from_f64((dy.to_f64() - through_statistics(index)) * scale)
    });
}

/// Whether a fused ReLU, if there was one, let the element through.
fn is_open<T: Element>(problem: &Problem, gate: &Gate<'_, T, HostMemory>, index: Index) -> bool {
    let (n, c, s) = index;
    let offset = problem.offset(n, c, s);
    match gate {
        Gate::Open => true,
        Gate::Output(y) => passes(y[offset]),
        Gate::Bits(bits) => {
            let (byte, bit) = problem.bit(offset);
            bits[byte] & bit != 0
        }
    }
}
