//! Backward: the two sums of each channel, and dx from them.

use bn_core::{
    BackwardApply, BackwardReduce, Correction, Element, Gate, HostMemory, Problem, passes,
};

use ndarray::ArrayView2;

use crate::view;

type Index = (usize, usize, usize);

/// Σ dy and Σ dy·x̂, over all values of each group and channel.
pub(crate) fn reduce<T: Element>(request: BackwardReduce<'_, T, HostMemory>) {
    let BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat } = request;
    let (mean, inv_std) = (view::statistics(&problem, mean), view::statistics(&problem, inv_std));
    let mut sum_dy = view::statistics_mut(&problem, sum_dy);
    let mut sum_dy_xhat = view::statistics_mut(&problem, sum_dy_xhat);
    sum_dy.fill(0.0);
    sum_dy_xhat.fill(0.0);
    let x = view::tensor(&problem, saved.buffer());
    for (index, dy) in view::tensor(&problem, dy).indexed_iter() {
        let (n, c, _) = index;
        let of = (n / problem.group_batch(), c);
        let (mean, inv_std) = saved.normalizer(mean[of], inv_std[of]);
        let x_hat = (x[index].to_f64() - mean) * inv_std;
        let dy = if is_open(&problem, &gate, index) { dy.to_f64() } else { 0.0 };
        sum_dy[of] += dy;
        sum_dy_xhat[of] += dy * x_hat;
    }
}

/// dx = gamma·(dy − mean(dy) − x̂·mean(dy·x̂))·inv_std, or gamma·dy·inv_std where statistics were fixed.
///
/// The derivation's g = gamma·dy: gamma is one factor for the channel, so it stands outside the means.
pub(crate) fn apply<T: Element>(request: BackwardApply<'_, T, HostMemory>) {
    let BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction } = request;
    let inv_std = view::statistics(&problem, inv_std);
    let gamma = |c: usize| gamma.map_or(1.0, |gamma| gamma[c].to_f64());
    let mut dresidual = dresidual.map(|dresidual| view::tensor_mut(&problem, dresidual));
    let correction = correction_at(&problem, correction, inv_std);
    view::map(&problem, io, |index, dy| {
        let (n, c, _) = index;
        let dy = if is_open(&problem, &gate, index) { dy } else { T::default() };
        if let Some(dresidual) = &mut dresidual {
            dresidual[index] = dy;
        }
        let scale = gamma(c) * inv_std[(n / problem.group_batch(), c)];
        T::from_f64((dy.to_f64() - correction(index)) * scale)
    });
}

/// mean(dy) + x̂·mean(dy·x̂) at an index; 0 where the statistics did not depend on the value there.
fn correction_at<'a, T: Element>(
    problem: &'a Problem,
    correction: Correction<'a, T, HostMemory>,
    inv_std: ArrayView2<'a, f64>,
) -> Box<dyn Fn(Index) -> f64 + 'a> {
    let Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } = correction else {
        return Box::new(|_| 0.0);
    };
    let x = view::tensor(problem, saved.buffer());
    let mean = view::statistics(problem, mean);
    let sum_dy = view::statistics(problem, sum_dy);
    let sum_dy_xhat = view::statistics(problem, sum_dy_xhat);
    Box::new(move |index| {
        let (n, c, s) = index;
        if valid.is_some_and(|valid| valid.mask()[n * problem.spatial() + s] == 0) {
            return 0.0;
        }
        let of = (n / problem.group_batch(), c);
        let count = counts.of(of.0) as f64;
        let (mean, inv_std) = saved.normalizer(mean[of], inv_std[of]);
        let x_hat = (x[index].to_f64() - mean) * inv_std;
        sum_dy[of] / count + x_hat * (sum_dy_xhat[of] / count)
    })
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
