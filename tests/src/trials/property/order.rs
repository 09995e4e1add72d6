//! Properties of order: which channel comes first, which sample, which layout, in how many chunks.

use bn_core::{ChannelMoments, Counts, Element, Layout, Problem, moments_of};

use crate::call::{
    BackwardCall, BackwardOut, ForwardOut, From, How, MomentsCall, Operations, TrainingCall,
};
use crate::compare::{Expected, Verdict};
use crate::data::{Case, wide};
use crate::expect::{
    Affine, BackwardInputs, ExpectedGradients, ExpectedStatistics, expected_m2, expected_y,
};
use crate::reference::{Backward, Moments, walk};
use crate::trials::problem;

const SHAPE: [usize; 4] = [6, 19, 3, 5];

/// Forward and backward of a case, and the tolerances of each output.
struct Step<T: Element> {
    forward: ForwardOut<T>,
    backward: BackwardOut<T>,
    y: Expected,
    statistics: ExpectedStatistics,
    gradients: ExpectedGradients,
}

impl<T: Element> Step<T> {
    fn run(operations: &dyn Operations<T>, case: &Case<T>) -> Result<Self, String> {
        let Case { problem, x, gamma, beta, eps, .. } = case;
        let (gamma, beta) = (Some(&gamma[..]), Some(&beta[..]));
        let call = TrainingCall { gamma, beta, eps: *eps, ..TrainingCall::new(*problem, x) };
        let forward = operations.training(&call, How::default())?.written()?;
        let moments = Moments::of(problem, &wide(x), None);
        let statistics = ExpectedStatistics::of_batch(&moments, *eps, T::DTYPE);
        let (mean, inv_std) = (statistics.mean().values, statistics.inv_std().values);
        let from = From::Input(&x[..]);
        let call =
            BackwardCall { gamma, ..BackwardCall::new(*problem, &case.dy, from, &mean, &inv_std) };
        let backward = operations.backward(&call, How::default())?.written()?;

        let [x, dy] = [&case.x, &case.dy].map(|values| wide(values));
        let [gamma, beta] = [&case.gamma, &case.beta].map(|values| wide(values));
        let affine = Affine { gamma: Some(&gamma), beta: Some(&beta), ..Affine::default() };
        let inputs = Backward {
            problem,
            dy: &dy,
            open: None,
            saved: (&x, false),
            mean: &mean,
            inv_std: &inv_std,
            gamma: Some(&gamma),
            dependence: bn_core::Dependence::Batch,
            mask: None,
        };
        Ok(Self {
            y: expected_y(problem, T::DTYPE, &statistics, &x, affine),
            gradients: BackwardInputs { inputs, dtype: T::DTYPE }.expected(),
            statistics,
            forward,
            backward,
        })
    }

    /// Holds another run against this one: `tensor` takes a tensor of the other into the order of this,
    /// `channels` a value for each channel.
    fn agrees(
        &self,
        other: &Self,
        tensor: impl Fn(&[T]) -> Vec<f64>,
        channel: impl Fn(usize) -> usize,
    ) -> Verdict {
        let channels = |values: &[f64]| -> Vec<f64> {
            (0..values.len()).map(|c| values[channel(c)]).collect()
        };
        let (forward, backward) = (&other.forward, &other.backward);
        let mean = self.statistics.mean().around(channels(&forward.mean));
        mean.meets("save_mean", &self.forward.mean)?;
        let inv_std = self.statistics.inv_std().around(channels(&forward.inv_std));
        inv_std.meets("save_inv_std", &self.forward.inv_std)?;
        let dgamma = channels(&wide(backward.dgamma.as_deref().unwrap_or_default()));
        let found = self.backward.dgamma.as_deref().unwrap_or_default();
        self.gradients.dgamma.around(dgamma).meets("dgamma", found)?;
        let dbeta = channels(&wide(backward.dbeta.as_deref().unwrap_or_default()));
        let found = self.backward.dbeta.as_deref().unwrap_or_default();
        self.gradients.dbeta.around(dbeta).meets("dbeta", found)?;
        // Both answers may be off, each to its own side.
        let around = |expected: &Expected, values: Vec<f64>| {
            let slack = expected.slack.iter().zip(&expected.values);
            let slack = slack
                .map(|(slack, &value)| 2.0 * slack + crate::tolerance::half_ulp(T::DTYPE, value));
            Expected { values, slack: slack.collect() }
        };
        around(&self.y, tensor(&forward.y)).meets("y", &self.forward.y)?;
        around(&self.gradients.dx, tensor(&backward.dx)).meets("dx", &self.backward.dx)
    }
}

/// A case with its channels in another order has the same answers in that order.
pub(super) fn channels_permuted<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "order");
    let channels = case.problem.channels();
    // 7 has no divisor in common with the 19 channels.
    let to = |c: usize| (7 * c + 3) % channels;
    let index = |values: &[T]| -> Vec<T> {
        let place = place_of(&case.problem, |n, c, s| (n, to(c), s));
        let mut moved = vec![T::default(); values.len()];
        values.iter().zip(place).for_each(|(&value, place)| moved[place] = value);
        moved
    };
    let mut moved = case.clone();
    (moved.x, moved.dy) = (index(&case.x), index(&case.dy));
    for c in 0..channels {
        (moved.gamma[to(c)], moved.beta[to(c)]) = (case.gamma[c], case.beta[c]);
    }
    let place = place_of(&case.problem, |n, c, s| (n, to(c), s));
    let (whole, other) = (Step::run(operations, &case)?, Step::run(operations, &moved)?);
    let back = |values: &[T]| place.iter().map(|&place| values[place].to_f64()).collect();
    whole.agrees(&other, back, to)
}

/// A case with its samples in another order has the same statistics and gradients.
pub(super) fn samples_permuted<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "order");
    let batch = case.problem.batch();
    let place = place_of(&case.problem, |n, c, s| ((5 * n + 2) % batch, c, s));
    let mut moved = case.clone();
    for (index, &place) in place.iter().enumerate() {
        (moved.x[place], moved.dy[place]) = (case.x[index], case.dy[index]);
    }
    let (whole, other) = (Step::run(operations, &case)?, Step::run(operations, &moved)?);
    let back = |values: &[T]| place.iter().map(|&place| values[place].to_f64()).collect();
    whole.agrees(&other, back, |c| c)
}

/// The same values in both layouts have the same answers.
pub(super) fn layouts_agree<T: Element>(operations: &dyn Operations<T>) -> Verdict {
    let [first, last] = Layout::ALL.map(|layout| Case::<T>::new(problem(&SHAPE, layout), "order"));
    let logical: Vec<usize> = {
        let mut logical = vec![0; last.x.len()];
        walk(&last.problem).enumerate().for_each(|(index, cell)| logical[cell.logical] = index);
        logical
    };
    let (whole, other) = (Step::run(operations, &first)?, Step::run(operations, &last)?);
    let back = |values: &[T]| {
        walk(&first.problem).map(|cell| values[logical[cell.logical]].to_f64()).collect()
    };
    whole.agrees(&other, back, |c| c)
}

/// The moments of chunks of the batch, of uneven sizes, merge to those of the whole.
pub(super) fn chunks_merge_to_the_whole<T: Element>(
    operations: &dyn Operations<T>,
    layout: Layout,
) -> Verdict {
    let case = Case::<T>::new(problem(&SHAPE, layout), "order");
    let (channels, batch) = (case.problem.channels(), case.problem.batch());
    let sample = case.x.len() / batch;
    let mut merged = vec![ChannelMoments::default(); channels];
    for samples in [0..1, 1..4, 4..batch] {
        let shape = [samples.len(), channels, SHAPE[2], SHAPE[3]];
        let problem = problem(&shape, layout);
        let x = &case.x[samples.start * sample..samples.end * sample];
        let call = MomentsCall { problem, x, mask: None };
        let found = operations.moments(&call, How::default())?.written()?;
        let chunk = moments_of(&problem, &Counts::from(&problem), &found.mean, &found.m2);
        merged.iter_mut().zip(chunk).for_each(|(whole, chunk)| *whole = whole.merge(chunk));
    }
    let whole = Moments::of(&case.problem, &wide(&case.x), None);
    let of = |value: fn(&ChannelMoments) -> f64| merged.iter().map(value).collect::<Vec<f64>>();
    let statistics = ExpectedStatistics::of_batch(&whole, case.eps, T::DTYPE);
    statistics.mean().meets("merged mean", &of(|moments| moments.mean))?;
    expected_m2(&whole, T::DTYPE).meets("merged m2", &of(|moments| moments.m2))
}

/// Where each value goes in memory when its sample, channel and position are mapped.
fn place_of(
    problem: &Problem,
    map: impl Fn(usize, usize, usize) -> (usize, usize, usize),
) -> Vec<usize> {
    let (channels, spatial) = (problem.channels(), problem.spatial());
    let mut index_of = vec![0; problem.elements()];
    walk(problem).enumerate().for_each(|(index, cell)| index_of[cell.logical] = index);
    let target = |logical: usize| {
        let (n, c, s) =
            map(logical / (channels * spatial), logical / spatial % channels, logical % spatial);
        index_of[(n * channels + c) * spatial + s]
    };
    walk(problem).map(|cell| target(cell.logical)).collect()
}
