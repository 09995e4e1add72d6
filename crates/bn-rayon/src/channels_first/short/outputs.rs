//! The outputs of short rows.
//!
//! A strip is written as one run of values. A vector of it lies in channels that follow each other, so its
//! coefficients are picked out of vectors of those of as many channels as there are lanes; and they serve several
//! samples, whose strips go side by side.

use core::ops::Range;

use super::SHORT_ROW;
use crate::channels_first::outputs::{Output, Sum};
use crate::channels_first::strip::{Span, Step, row_of, take};
use crate::channels_last::LoadLanes;
use crate::engine::Engine;
use crate::run::until_aligned;
use crate::shared::Shared;
use crate::simd::{Access, Kernel, Simd, Vector};
use crate::tile::{ABREAST, Cut};

/// Vectors of a strip that are written before those of the next; one where a cache has all, and registers cannot
/// hold the coefficients of four.
const TURN: usize = 4;

/// Runs a step, or what it consists of one after the other, where its rows are short and have neither bits nor masks.
pub(crate) fn run_step<A, Q, W, const N: usize, const STREAM: bool>(
    engine: &Engine,
    step: Step<'_, A, Q, W, N, STREAM>,
) where
    A: Access,
    Q: Sum<A>,
    W: Output<A, N>,
{
    let Step { cut, write: (_, output), .. } = &step;
    if cut.problem.spatial() > SHORT_ROW || output.by_rows() || output.has_bits() {
        return engine.run(step);
    }
    let Step { cut, sum, write, table, forwards, .. } = step;
    if let Some(sum) = sum {
        engine.run(sum);
    }
    let abreast = engine.tuning.abreast.is_some();
    engine.run(WriteShort::<A, W, N, STREAM> { cut, write, table, abreast, forwards });
}

/// Writes a span of short rows.
struct WriteShort<'a, A: Access, W, const N: usize, const STREAM: bool> {
    cut: &'a Cut,
    write: (Span, W),
    /// The coefficients of each statistic.
    table: [Shared<A::Scalar>; N],
    /// Whether strips go side by side.
    abreast: bool,
    /// Whether strips are written from the first.
    forwards: bool,
}

impl<A, W, const N: usize, const STREAM: bool> Kernel for WriteShort<'_, A, W, N, STREAM>
where
    A: Access,
    W: Output<A, N>,
{
    const STREAMS: bool = STREAM;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, write: (span, _), .. } = &self;
        let lanes = A::Vec::<S>::LANES;
        // The channel of every value of as many rows as there are lanes.
        let mut channel_of = [0; SHORT_ROW * 16];
        let rows = channel_of.chunks_exact_mut(cut.problem.spatial());
        for (c, row) in rows.take(lanes).enumerate() {
            row.fill(c as u8);
        }
        let mut left = span.strips.clone();
        loop {
            let strips = if self.abreast {
                take::<ABREAST>(cut, &mut left, self.forwards)
            } else {
                take::<1>(cut, &mut left, self.forwards)
            };
            if strips.is_empty() {
                break;
            }
            self.strips(simd, strips, &channel_of);
        }
        if STREAM {
            simd.fence();
        }
    }
}

impl<A, W, const N: usize, const STREAM: bool> WriteShort<'_, A, W, N, STREAM>
where
    A: Access,
    W: Output<A, N>,
{
    /// Writes some strips side by side, whose lines begin at the same places.
    #[inline(always)]
    fn strips<S: Simd>(&self, simd: S, strips: Range<usize>, channel_of: &[u8; SHORT_ROW * 16]) {
        let (cut, (Span { tile, .. }, output)) = (self.cut, &self.write);
        let (lanes, row) = (A::Vec::<S>::LANES, cut.problem.spatial());
        let sample = cut.problem.channels() * row;
        let start = row_of(cut, tile, strips.start, tile.channels.start).element;
        let statistics = cut.statistics(tile);
        let len = statistics.len() * row;
        let head = if STREAM { until_aligned::<A, S>(output.place(start)) } else { 0 };
        let mut at = 0;
        // A macro, for a closure would be compiled without the instruction set.
        macro_rules! put {
            ($to_memory:tt, $coefficients:expr, $count:expr) => {
                let coefficients = $coefficients;
                for strip in 0..strips.len() {
                    let mut at = start + strip * sample + at;
                    for k in &coefficients {
                        // SAFETY: values of the strip; whole vectors are aligned where stores bypass the cache.
                        unsafe {
                            let loaded = output.load(simd, at, $count);
                            let z = output.finish(simd, loaded, output.compute(loaded, k));
                            output.store::<S, $to_memory>(simd, loaded, z, at, $count);
                        }
                        at += lanes;
                    }
                }
            };
        }
        while at < len {
            let first = statistics.start + at / row;
            let count = lanes.min(statistics.end - first);
            let mut group = [A::Vec::<S>::splat(simd, A::Scalar::default()); N];
            for (group, table) in group.iter_mut().zip(self.table) {
                let from = table.at(first).cast_const();
                // SAFETY: the coefficients of a unit are there before it is written.
                *group = unsafe { A::Scalar::load::<A, S>(simd, from, count) };
            }
            let mut place = at % row;
            // The coefficients of the vector at a place. Whole vectors end within as many rows as there are lanes, and
            // heads and what is left over begin in the first of them, so sixteen bytes from there on are in the array.
            macro_rules! picked {
                ($place:expr) => {{
                    let channels = channel_of.as_ptr().wrapping_add($place).cast::<[u8; 16]>();
                    // SAFETY: bytes of the array, as was said.
                    let channels = unsafe { channels.read_unaligned() };
                    let mut k = group;
                    for k in &mut k {
                        *k = k.pick(simd, channels);
                    }
                    k
                }};
            }
            if at < head {
                put!(false, [picked!(place)], head.min(len));
                at = head;
                continue;
            }
            let mut vectors = ((row * lanes - place) / lanes).min((len - at) / lanes);
            if vectors == 0 {
                put!(false, [picked!(place)], len - at);
                break;
            }
            while (STREAM || S::MANY_REGISTERS) && vectors >= TURN {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| place + i * lanes);
                put!(STREAM, [picked!(a), picked!(b), picked!(c), picked!(d)], lanes);
                (at, place, vectors) = (at + TURN * lanes, place + TURN * lanes, vectors - TURN);
            }
            for _ in 0..vectors {
                put!(STREAM, [picked!(place)], lanes);
                (at, place) = (at + lanes, place + lanes);
            }
        }
    }
}
