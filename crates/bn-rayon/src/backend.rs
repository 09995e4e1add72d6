//! The backend: requests taken apart, each element type to its kernels.

use std::sync::Arc;

use bn_core::{
    Backend, Backward, BackwardApply, BackwardReduce, BatchNormBackend, ChannelMoments, Checked,
    Correction, DType, Dependence, Device, Element, Error, FixedStatistics, ForwardInference,
    ForwardTraining, HostMemory, Moments, Normalize, Problem, bf16, f16,
};

use crate::backward::{GradientSums, MakeGradient, Normalizer};
use crate::channels_first::{Given, Taken};
use crate::compiled::Compiled;
use crate::engine::{Engine, last_level_cache};
use crate::forward::{Apply, TakeMoments};
use crate::run::{Finish, Through};
use crate::shared::Shared;
use crate::simd::Level;
use crate::source::{Affine, Center, Numbers};
use crate::team::Team;
use crate::tuning::Tuning;
use crate::workspace::Workspaces;

/// Batch normalisation on the cores of a CPU.
///
/// Cloning is cheap; clones share threads and workspace.
#[derive(Clone, Debug)]
pub struct RayonBackend {
    engine: Engine,
}

impl Default for RayonBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl RayonBackend {
    /// A backend that works in the caller's current rayon pool: the one that an operation is called
    /// in, or else the global one.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Team::new(None))
    }

    /// A backend with `threads` threads of its own; 0 for one per core.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where the threads cannot be started.
    pub fn with_threads(threads: usize) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("bn-rayon-{index}"))
            .build()
            .map_err(|error| Error::Unavailable { backend: NAME, reason: error.to_string() })?;
        Ok(Self::on(Team::new(Some(Arc::new(pool)))))
    }

    /// The same on another instruction set of this CPU.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.engine.level = level;
        self
    }

    /// The same with another bound below which an operation stays on the calling thread: bytes of all
    /// its tensors. Changes no bit of any result.
    #[must_use]
    pub fn with_alone_below(mut self, bytes: usize) -> Self {
        self.engine.team.alone = bytes;
        self
    }

    /// The same for a last-level cache of that many bytes; outputs that do not fit in a quarter of it
    /// are written past it. Changes no bit of any result. By default what the machine tells, but 32 MiB at
    /// most: a larger one is as a rule that of a socket of many cores.
    #[must_use]
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.engine.cache = bytes;
        self
    }

    /// The instruction set in use.
    #[must_use]
    pub fn level(&self) -> Level {
        self.engine.level
    }

    fn on(team: Team) -> Self {
        let (spaces, level, cache) = (Workspaces::default(), Level::detect(), last_level_cache());
        Self { engine: Engine { team, spaces, level, cache, tuning: Tuning::here() } }
    }
}

const NAME: &str = "rayon";

impl Backend for RayonBackend {
    type Memory = HostMemory;

    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self) -> Device {
        let threads = self.engine.team.threads();
        let plural = if threads == 1 { "" } else { "s" };
        Device {
            label: format!("CPU, {threads} thread{plural}"),
            instruction_set: self.engine.level.to_string(),
        }
    }

    fn memory(&self) -> &HostMemory {
        &HostMemory
    }
}

/// Evaluates `$body` with `$access` the type that an element `$element` is accessed by.
macro_rules! by_type {
    ($element:ty, $access:ident => $body:expr) => {
        match <$element as bn_core::Scalar>::DTYPE {
            DType::F32 => {
                type $access = f32;
                $body
            }
            DType::F64 => {
                type $access = f64;
                $body
            }
            DType::F16 => {
                type $access = f16;
                $body
            }
            DType::BF16 => {
                type $access = bf16;
                $body
            }
            DType::U8 => unreachable!("u8 is no element type"),
        }
    };
}

impl<T: Element> BatchNormBackend<T> for RayonBackend {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), Error> {
        let counts = request.counts();
        let Moments { problem, x, valid, mean, m2 } = request.into_inner();
        let (mask, x) = (valid.map(|valid| Shared::reading(valid.mask())), Shared::reading(x));
        let (mean, m2, counts) = (Shared::writing(mean), Shared::writing(m2), &counts);
        by_type!(T, A => {
            let moments = TakeMoments { mask, counts, mean, m2, x: x.cast() };
            A::forward(&self.engine, problem, Some(&moments), None)
        })
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), Error> {
        let Normalize { problem, io, mean, inv_std, gamma, beta, epilogue } = request.into_inner();
        let (gamma, beta) = (Numbers::new(gamma, 1.0), Numbers::new(beta, 0.0));
        let (io, finish) = (Shared::pair(io), Finish::of(epilogue));
        let [mean, inv_std] = [mean, inv_std].map(|values| Numbers::new(Some(values), 0.0));
        let center = Center::Given { mean, inv_std };
        let of = Affine { center, gamma, beta, channels: problem.channels() };
        by_type!(T, A => {
            let (io, finish) = ((io.0.cast(), io.1.cast()), finish.cast());
            let apply = Apply { io, finish, of: &of, inv_std: None };
            A::forward(&self.engine, problem, None, Some(&apply))
        })
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let BackwardReduce { problem, dy, gate, saved, mean, inv_std, sum_dy, sum_dy_xhat } =
            request.into_inner();
        let normalizer = Some(Normalizer::new(saved, mean, inv_std));
        let (dy, through) = (Shared::reading(dy), Through::of(gate));
        let x = Shared::reading(saved.buffer());
        let sums =
            GradientSums { dy: Shared::writing(sum_dy), dy_xhat: Shared::writing(sum_dy_xhat) };
        by_type!(T, A => {
            let given = Given { dy: dy.cast(), through: through.cast(), x: Some(x.cast()) };
            let make = None;
            A::backward(&self.engine, problem, given, normalizer, Some(sums), make)
        })
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let BackwardApply { problem, io, gate, dresidual, inv_std, gamma, correction } =
            request.into_inner();
        let gamma = Numbers::new(gamma, 1.0);
        let (io, through) = (Shared::pair(io), Through::of(gate));
        let dresidual = dresidual.map(Shared::writing);
        let (x, normalizer, batch, mask) = match correction {
            Correction::Fixed => (None, None, None, None),
            Correction::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } => {
                let sums = GradientSums {
                    dy: Shared::reading(sum_dy),
                    dy_xhat: Shared::reading(sum_dy_xhat),
                };
                (
                    Some(Shared::reading(saved.buffer())),
                    Some(Normalizer::new(saved, mean, inv_std)),
                    Some((sums, counts)),
                    valid.map(|valid| Shared::reading(valid.mask())),
                )
            }
        };
        by_type!(T, A => {
            let given = Given {
                dy: io.0.cast(),
                through: through.cast(),
                x: x.map(Shared::cast),
            };
            let dresidual = dresidual.map(Shared::cast);
            let taken = Taken { dx: io.1.cast(), dresidual, mask };
            let make = MakeGradient { taken, batch, inv_std, gamma };
            A::backward(&self.engine, problem, given, normalizer, None, Some(&make))
        })
    }

    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let counts = request.counts();
        let ForwardTraining {
            problem, io, valid, gamma, beta, eps, epilogue, running, saved, ..
        } = request.into_inner();
        let (statistics, channels) = (problem.statistics(), problem.channels());
        let (gamma, beta) = (Numbers::new(gamma, 1.0), Numbers::new(beta, 0.0));
        let (io, finish) = (Shared::pair(io), Finish::of(epilogue));
        let mask = valid.map(|valid| Shared::reading(valid.mask()));
        self.engine.spaces.lend(statistics, |m2_values| {
            let (mean, m2) = (Shared::writing(saved.mean), Shared::writing(m2_values));
            let moments_of = |statistic: usize| ChannelMoments {
                count: counts.of(statistic / channels),
                // SAFETY: asked for only where the moments are there.
                mean: unsafe { mean.get(statistic) },
                // SAFETY: the same.
                m2: unsafe { m2.get(statistic) },
            };
            let inv_std = Some(Shared::writing(saved.inv_std));
            let counts = &counts;
            let center = Center::Moments { mean, m2, counts, eps };
            let of = Affine { center, gamma, beta, channels };
            by_type!(T, A => {
                let x = io.0.cast();
                let moments = TakeMoments { mask, counts, mean, m2, x };
                let (io, finish) = ((x, io.1.cast()), finish.cast());
                let apply = Apply { io, finish, of: &of, inv_std };
                A::forward(&self.engine, problem, Some(&moments), Some(&apply))
            })?;
            if let Some(running) = running {
                let blend = running.momentum.blend(running.seen);
                for (c, (mean, var)) in running.mean.iter_mut().zip(running.var).enumerate() {
                    let others = (c + channels..statistics).step_by(channels).map(moments_of);
                    let merged = others.fold(moments_of(c), ChannelMoments::merge);
                    *mean = blend.apply(*mean, merged.mean);
                    *var = blend.apply(*var, running.variance.of(&merged));
                }
                *running.seen = running.seen.next::<T::Param>(&running.momentum);
            }
            Ok(())
        })?
    }

    fn forward_inference(
        &self,
        request: Checked<ForwardInference<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let ForwardInference { problem, io, statistics, gamma, beta, epilogue, saved, .. } =
            request.into_inner();
        let (gamma, beta) = (Numbers::new(gamma, 1.0), Numbers::new(beta, 0.0));
        let center = match statistics {
            FixedStatistics::Given { mean, inv_std } => {
                let [mean, inv_std] = [mean, inv_std].map(|values| Numbers::new(Some(values), 0.0));
                Center::Given { mean, inv_std }
            }
            FixedStatistics::Running { mean, var, scale, eps } => {
                let [mean, var] = [mean, var].map(|values| Numbers::new(Some(values), 0.0));
                Center::Running { mean, var, scale, eps }
            }
        };
        let of = Affine { center, gamma, beta, channels: problem.channels() };
        let (io, finish) = (Shared::pair(io), Finish::of(epilogue));
        by_type!(T, A => {
            let (io, finish) = ((io.0.cast(), io.1.cast()), finish.cast());
            let apply = Apply { io, finish, of: &of, inv_std: None };
            A::forward(&self.engine, problem, None, Some(&apply))
        })?;
        if let Some(saved) = saved {
            let places = saved.mean.iter_mut().zip(saved.inv_std).enumerate();
            for (statistic, (mean, inv_std)) in places {
                // SAFETY: a statistic of the problem, and nobody writes what is given.
                [*mean, *inv_std, ..] = unsafe { of.get(statistic) };
            }
        }
        Ok(())
    }

    fn backward(&self, request: Checked<Backward<'_, T, HostMemory>>) -> Result<(), Error> {
        let counts = request.counts();
        let Backward {
            problem,
            io,
            saved,
            mean,
            inv_std,
            dependence,
            valid,
            gamma,
            gate,
            dgamma,
            dbeta,
            dresidual,
        } = request.into_inner();
        let gamma = Numbers::new(gamma, 1.0);
        let (io, through) = (Shared::pair(io), Through::of(gate));
        let (dresidual, x) = (dresidual.map(Shared::writing), Shared::reading(saved.buffer()));
        let mask = valid.map(|valid| Shared::reading(valid.mask()));
        let normalizer = Some(Normalizer::new(saved, mean, inv_std));
        let statistics = problem.statistics();
        self.engine.spaces.lend(2 * statistics, |space| {
            let (sum_dy, sum_dy_xhat) = space.split_at_mut(statistics);
            let sums =
                GradientSums { dy: Shared::writing(sum_dy), dy_xhat: Shared::writing(sum_dy_xhat) };
            let of_batch = dependence == Dependence::Batch;
            let wanted = of_batch || dgamma.is_some() || dbeta.is_some();
            let batch = of_batch.then_some((sums, &counts));
            by_type!(T, A => {
                let given = Given {
                    dy: io.0.cast(),
                    through: through.cast(),
                    x: Some(x.cast()),
                };
                let dresidual = dresidual.map(Shared::cast);
                let taken = Taken { dx: io.1.cast(), dresidual, mask };
                let make = MakeGradient { taken, batch, inv_std, gamma };
                let reduce = wanted.then_some(sums);
                A::backward(&self.engine, problem, given, normalizer, reduce, Some(&make))
            })?;
            for (gradient, sums) in [(dgamma, &*sum_dy_xhat), (dbeta, &*sum_dy)] {
                if let Some(gradient) = gradient {
                    write_gradient(&problem, sums, gradient);
                }
            }
            Ok(())
        })?
    }
}

/// dgamma or dbeta, C values, from G·C sums, as [`bn_core::parameter_gradient`] without a vector.
fn write_gradient<P: Element>(problem: &Problem, sums: &[f64], gradient: &mut [P]) {
    if problem.groups() == 1 {
        let places = gradient.iter_mut().zip(sums);
        return places.for_each(|(gradient, &sum)| *gradient = P::from_f64(sum));
    }
    for (c, gradient) in gradient.iter_mut().enumerate() {
        *gradient = P::from_f64(sums.iter().skip(c).step_by(problem.channels()).sum());
    }
}

#[cfg(test)]
mod tests {
    use bn_core::{Epilogue, Gate, InOut, Layout, Request, SavedStatistics, SavedTensor};

    use super::*;
    use crate::tuning::{GENERAL, ZEN5};

    /// Everything that training and backward write, and the two operations that backward consists of by themselves,
    /// with ReLU and its bits or without. Numbers as `f64`, in which each has its own bits; outputs `offset` values
    /// behind where the allocator puts them, and over their inputs where `in_place`.
    fn written<T: Element>(
        backend: &RayonBackend,
        problem: Problem,
        relu: bool,
        (offset, in_place): (usize, bool),
    ) -> [Vec<u64>; 10] {
        let len = problem.elements();
        let value =
            |i: usize| T::from_f64((i.wrapping_mul(2_654_435_761) % 1021) as f64 / 256.0 - 1.5);
        let x: Vec<T> = (0..len).map(value).collect();
        let dy: Vec<T> = (0..len).map(|i| value(i + 77)).collect();
        let behind = |input: &[T]| {
            let mut output = vec![T::default(); offset + len];
            output[offset..].copy_from_slice(input);
            output
        };
        let (mut y, mut dx, mut bits) = (behind(&x), behind(&dy), vec![0; problem.bits_len()]);
        let [mut mean, mut inv_std] = [(); 2].map(|()| vec![0.0; problem.statistics()]);
        let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
        let mut forward = ForwardTraining::new(problem, io(in_place, &x, &mut y[offset..]), saved);
        if relu {
            forward.epilogue = Epilogue::Relu { bits: Some(&mut bits[..]) };
        }
        backend.forward_training(forward.check().unwrap()).unwrap();
        let [mut dgamma, mut dbeta] =
            [(); 2].map(|()| vec![T::Param::default(); problem.channels()]);
        let saved = SavedTensor::Input(&x[..]);
        let gate = if relu { Gate::Bits(&bits[..]) } else { Gate::Open };
        let io_of_dx = io(in_place, &dy, &mut dx[offset..]);
        let mut backward = Backward::new(problem, io_of_dx, saved, &mean[..], &inv_std[..]);
        backward.gate = gate;
        (backward.dgamma, backward.dbeta) = (Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        backend.backward(backward.check().unwrap()).unwrap();
        let [mut sum_dy, mut sum_dy_xhat] = [(); 2].map(|()| vec![0.0; problem.statistics()]);
        let reduce = BackwardReduce {
            problem,
            dy: &dy[..],
            gate,
            saved,
            mean: &mean[..],
            inv_std: &inv_std[..],
            sum_dy: &mut sum_dy[..],
            sum_dy_xhat: &mut sum_dy_xhat[..],
        };
        backend.backward_reduce(reduce.check().unwrap()).unwrap();
        let mut alone = behind(&dy);
        let apply = BackwardApply {
            problem,
            io: io(in_place, &dy, &mut alone[offset..]),
            gate,
            dresidual: None,
            inv_std: &inv_std[..],
            gamma: None,
            correction: Correction::Batch {
                saved,
                mean: &mean[..],
                sum_dy: &sum_dy[..],
                sum_dy_xhat: &sum_dy_xhat[..],
                counts: &(&problem).into(),
                valid: None,
            },
        };
        backend.backward_apply(apply.check().unwrap()).unwrap();
        let bits = bits.iter().copied().map(u64::from).collect();
        let [y, dx, alone] = [y, dx, alone].map(|values| numbers(&values[offset..]));
        let [mean, inv_std, sum_dy, sum_dy_xhat] =
            [mean, inv_std, sum_dy, sum_dy_xhat].map(|values| numbers(&values));
        let [dgamma, dbeta] = [dgamma, dbeta].map(|values| numbers(&values));
        [y, bits, mean, inv_std, dx, dgamma, dbeta, sum_dy, sum_dy_xhat, alone]
    }

    fn io<'a, T>(in_place: bool, input: &'a [T], output: &'a mut [T]) -> InOut<'a, [T]> {
        if in_place { InOut::InPlace(output) } else { InOut::new(input, output) }
    }

    fn numbers<T: Element>(values: &[T]) -> Vec<u64> {
        values.iter().map(|value| value.to_f64().to_bits()).collect()
    }

    /// Every way of walking a problem against the first one.
    fn compare<T: Element>(problem: Problem, relu: bool) {
        let mut first: Option<[Vec<u64>; 10]> = None;
        for (threads, tuning, cache) in [
            (1, GENERAL, 1 << 20),
            (1, ZEN5, 1 << 20),
            (3, GENERAL, 1 << 20),
            (3, ZEN5, 1 << 30),
            (1, GENERAL, 1 << 30),
        ] {
            let mut backend = RayonBackend::with_threads(threads).unwrap().with_cache(cache);
            backend.engine.tuning = tuning;
            for place in [(0, false), (1, false), (3, true)] {
                let these = written::<T>(&backend, problem, relu, place);
                let first = first.get_or_insert_with(|| these.clone());
                let how = format!("{threads} threads, {tuning:?}, cache of {cache}");
                assert!(*first == these, "{problem:?}, {how}, relu {relu}, {place:?}");
            }
        }
    }

    #[test]
    fn how_memory_is_walked_changes_no_bit() {
        // Beyond what counts as near, with strips and runs that go side by side and with some that do not: parts
        // of several strips, samples that are no multiple of four, rows that are no multiple of a vector or cut.
        for dims in [[9, 64, 33, 33], [7, 5, 150, 151], [130, 16, 33, 33], [3, 2, 600, 301]] {
            compare::<f32>(Problem::new(&dims, Layout::ChannelsFirst).unwrap(), true);
        }
        for dims in [[9, 33, 33, 64], [130, 33, 33, 24], [3, 150, 151, 13]] {
            compare::<f32>(Problem::new(&dims, Layout::ChannelsLast).unwrap(), true);
        }
        for (dims, layout) in
            [([18, 16, 56, 56], Layout::ChannelsFirst), ([18, 66, 67, 13], Layout::ChannelsLast)]
        {
            let problem = Problem::new(&dims, layout).unwrap();
            compare::<f32>(problem.with_groups(3).unwrap(), true);
        }
        // Within a cache.
        for (dims, layout) in
            [([4, 40, 14, 15], Layout::ChannelsFirst), ([6, 14, 15, 40], Layout::ChannelsLast)]
        {
            let problem = Problem::new(&dims, layout).unwrap().with_groups(2).unwrap();
            compare::<f32>(problem, true);
            compare::<f16>(problem, false);
        }
        for (dims, layout) in
            [([18, 16, 66, 67], Layout::ChannelsFirst), ([18, 66, 67, 16], Layout::ChannelsLast)]
        {
            let problem = Problem::new(&dims, layout).unwrap();
            compare::<bf16>(problem, true);
            compare::<f16>(problem, true);
            compare::<f64>(problem, true);
        }
        // Rows of channels-last that are more than one width.
        compare::<f32>(Problem::new(&[3, 60, 61, 150], Layout::ChannelsLast).unwrap(), true);
        // Without bits, long rows; and short ones: groups of channels that begin within a line, and one that is not
        // whole, samples that are a multiple of lines and that are not.
        for dims in [[9, 64, 33, 33], [130, 150, 7, 7], [700, 48, 1, 2], [42, 64, 10, 10]] {
            compare::<f32>(Problem::new(&dims, Layout::ChannelsFirst).unwrap(), false);
        }
        for (dims, layout) in
            [([130, 176, 7, 7], Layout::ChannelsFirst), ([130, 33, 33, 24], Layout::ChannelsLast)]
        {
            let problem = Problem::new(&dims, layout).unwrap();
            compare::<f32>(problem, false);
            compare::<bf16>(problem, false);
            compare::<f64>(problem, false);
        }
    }
}
