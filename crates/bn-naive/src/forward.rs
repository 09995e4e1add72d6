//! Forward: the moments of each channel, and the normalisation with them.

use bn_core::{Element, Epilogue, HostMemory, Moments, Normalize, passes, relu};

use crate::view;

/// mean = (1/m) Σ x and M2 = Σ (x − mean)², over the valid values of each group and channel.
pub(crate) fn moments<T: Element>(request: Moments<'_, T, HostMemory>) {
    let Moments { problem, x, valid, mean, m2 } = request;
    let mask = valid.map(|valid| valid.mask());
    for group in 0..problem.groups() {
        for c in 0..problem.channels() {
            let first = group * problem.group_batch();
            let is_valid = |n: usize, s: usize| {
                mask.is_none_or(|mask| mask[(first + n) * problem.spatial() + s] != 0)
            };
            let channel = view::channel(&problem, x, (group, c));
            let values = || {
                let indexed = channel.indexed_iter().filter(|((n, s), _)| is_valid(*n, *s));
                indexed.map(|(_, x)| x.to_f64())
            };

            // Taken from the deviations of a value, the mean of a constant channel is that constant
            // exactly. The first value may lie far off; from a mean found once, the deviations are
            // as small as they get, and what the first sum lost comes back. An infinite mean has no
            // deviations and stays what it is.
            let mean_from = |shift: f64| {
                let (mut count, mut sum) = (0.0, 0.0);
                for x in values() {
                    count += 1.0;
                    sum += x - shift;
                }
                shift + sum / count
            };
            let first_value = values().next().expect("a checked mask leaves a valid position");
            let rough = mean_from(first_value);
            let average = if rough.is_finite() { mean_from(rough) } else { rough };
            let of = problem.statistic(first, c);
            mean[of] = average;
            m2[of] = values().map(|x| (x - average) * (x - average)).sum();
        }
    }
}

/// y = epilogue((x − mean)·inv_std·gamma + beta).
pub(crate) fn normalize<T: Element>(request: Normalize<'_, T, HostMemory>) {
    let Normalize { problem, io, mean, inv_std, gamma, beta, epilogue } = request;
    let gamma = |c: usize| gamma.map_or(1.0, |gamma| gamma[c].to_f64());
    let beta = |c: usize| beta.map_or(0.0, |beta| beta[c].to_f64());
    let affine = |(n, c, _): (usize, usize, usize), x: T| {
        let of = problem.statistic(n, c);
        (x.to_f64() - mean[of]) * inv_std[of] * gamma(c) + beta(c)
    };

    let (residual, mut bits) = match epilogue {
        Epilogue::None => return view::map(&problem, io, |index, x| T::from_f64(affine(index, x))),
        Epilogue::Relu { bits } => (None, bits),
        Epilogue::AddRelu { residual, bits } => (Some(view::tensor(&problem, residual)), bits),
    };
    if let Some(bits) = &mut bits {
        bits.fill(0);
    }
    view::map(&problem, io, |index, x| {
        let residual = residual.map_or(0.0, |residual| residual[index].to_f64());
        let y = T::from_f64(relu(affine(index, x) + residual));
        if let Some(bits) = &mut bits
            && passes(y)
        {
            let (n, c, s) = index;
            let (byte, bit) = problem.bit(problem.offset(n, c, s));
            bits[byte] |= bit;
        }
        y
    });
}
