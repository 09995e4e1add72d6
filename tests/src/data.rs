//! The inputs of trials: seeded by the trial's own name, different in every channel.

use bn_core::{Element, Problem, Seen};

use crate::call::Running;
use crate::reference::walk;

/// A stream of random numbers (SplitMix64, Steele et al. 2014): the same on every machine and in every
/// version of the suite, so that a failure seen once is seen again.
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream that belongs to a name.
    pub(crate) fn new(name: &str) -> Self {
        // FNV-1a, so that the seed does not depend on the standard library's hasher.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        Self(name.bytes().fold(0xCBF2_9CE4_8422_2325, hash))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly between the two.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Of mean 0 and deviation 1, nearly normal: the sum of four even draws.
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.bits();
        let draws = [0, 16, 32, 48].map(|shift| ((bits >> shift) & 0xFFFF) as f64 / 65535.0);
        (draws.iter().sum::<f64>() - 2.0) * 3f64.sqrt()
    }

    /// A whole number from 0 to below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

/// Where the values of x lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Added to the mean of every channel.
    pub mean: f64,
    /// Multiplies mean offsets and deviations.
    pub std: f64,
}

impl Spread {
    pub(crate) const USUAL: Self = Self { mean: 0.0, std: 1.0 };
}

/// All inputs that any operation of a problem takes.
#[derive(Clone, Debug)]
pub(crate) struct Case<T: Element> {
    pub problem: Problem,
    pub x: Vec<T>,
    pub dy: Vec<T>,
    pub residual: Vec<T>,
    pub gamma: Vec<T::Param>,
    pub beta: Vec<T::Param>,
    pub running: Running<T::Param>,
    /// Means and inverse deviations of each group and channel, near those of the data.
    pub given: (Vec<f64>, Vec<f64>),
    /// One byte for each position; every group keeps at least two.
    pub mask: Vec<u8>,
    pub eps: f64,
}

impl<T: Element> Case<T> {
    pub(crate) fn new(problem: Problem, name: &str) -> Self {
        Self::spread(problem, name, Spread::USUAL)
    }

    /// A case whose values depend on `name` and on the sizes, but not on the layout.
    pub(crate) fn spread(problem: Problem, name: &str, spread: Spread) -> Self {
        let mut stream = Stream::new(name);
        let channels = problem.channels();
        let per_channel = |draw: &mut dyn FnMut(&mut Stream) -> f64, stream: &mut Stream| {
            (0..channels).map(|_| draw(stream)).collect::<Vec<f64>>()
        };
        let shift =
            per_channel(&mut |s| spread.mean + spread.std * s.between(-2.0, 2.0), &mut stream);
        let scale = per_channel(&mut |s| spread.std * s.between(0.5, 1.5), &mut stream);
        let gamma = per_channel(&mut |s| s.between(0.5, 1.5), &mut stream);
        let mut gamma: Vec<_> = gamma.into_iter().map(T::Param::from_f64).collect();
        // One scale of the other sign, so that an absolute value cannot pass.
        gamma[channels / 2] = T::Param::from_f64(-gamma[channels / 2].to_f64());
        let beta = per_channel(&mut |s| s.between(-1.0, 1.0), &mut stream);
        let near = |values: &[f64], stream: &mut Stream, by: f64| -> Vec<f64> {
            values.iter().map(|value| value * (1.0 + by * stream.normal())).collect()
        };
        let running_mean = near(&shift, &mut stream, 0.1);
        let squares: Vec<f64> = scale.iter().map(|scale| scale * scale).collect();
        let running_var: Vec<f64> =
            near(&squares, &mut stream, 0.1).into_iter().map(f64::abs).collect();
        let seen = Seen { batches: 2, factor: 1.75 };
        let running = Running { mean: narrow(&running_mean), var: narrow(&running_var), seen };

        let groups = problem.groups();
        let given_mean = near(&shift.repeat(groups), &mut stream, 0.2);
        let given_inv_std = near(&scale.repeat(groups), &mut stream, 0.1);
        let given_inv_std = given_inv_std.into_iter().map(|scale| 1.0 / scale.abs()).collect();

        let mut tensor = |value: &mut dyn FnMut(&mut Stream, usize) -> f64| -> Vec<T> {
            let (c, s) = (problem.channels(), problem.spatial());
            let logical: Vec<f64> =
                (0..problem.elements()).map(|index| value(&mut stream, index / s % c)).collect();
            walk(&problem).map(|cell| T::from_f64(logical[cell.logical])).collect()
        };
        let x = tensor(&mut |stream, c| shift[c] + scale[c] * stream.normal());
        let dy = tensor(&mut |stream, c| 0.3 * ((c % 3) as f64 - 1.0) + stream.normal());
        let residual = tensor(&mut |stream, _| stream.normal());
        let mask = mask(&problem, &mut stream);
        Self {
            problem,
            x,
            dy,
            residual,
            gamma,
            beta: narrow(&beta),
            running,
            given: (given_mean, given_inv_std),
            mask,
            eps: 1e-5,
        }
    }
}

/// About two thirds of the positions valid, marked by different bytes.
fn mask(problem: &Problem, stream: &mut Stream) -> Vec<u8> {
    let per_group = problem.positions() / problem.groups();
    let mark = |stream: &mut Stream| match stream.below(6) {
        0 | 1 => 0,
        2 => 255,
        3 => 2,
        _ => 1,
    };
    let mut mask: Vec<u8> = (0..problem.positions()).map(|_| mark(stream)).collect();
    for group in mask.chunks_mut(per_group) {
        let ends = [0, per_group - 1];
        ends.into_iter().for_each(|end| group[end] = 1);
    }
    mask
}

/// `f64` values in another type, each rounded once.
pub(crate) fn narrow<E: Element>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&value| E::from_f64(value)).collect()
}

/// Values of any type as `f64`, exactly.
pub(crate) fn wide<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}
