//! The plain loops, for the compiler to turn into vectors.

use std::hint::black_box;

use crate::Traffic;

/// One thread's share of the buffers.
pub(super) struct Part<'a> {
    pub(super) traffic: Traffic,
    pub(super) reads: [&'a [f32]; 2],
    pub(super) writes: [&'a mut [f32]; 2],
}

/// What triad and its twin with two outputs write.
#[inline(always)]
pub(super) fn triad_of(a: f32, b: f32) -> f32 {
    b.mul_add(3.0, a)
}

/// Moves a part once.
#[inline(always)]
pub(super) fn run(part: &mut Part<'_>) {
    let [a, b] = part.reads;
    let [y, z] = &mut part.writes;
    match part.traffic {
        Traffic { reads: 1, writes: 0 } => {
            black_box(sum(a, |index| a[index]));
        }
        Traffic { writes: 0, .. } => {
            black_box(sum(b, |index| a[index] * b[index]));
        }
        Traffic { reads: 1, .. } => y.copy_from_slice(a),
        Traffic { writes: 1, .. } => {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = triad_of(a, b);
            }
        }
        Traffic { .. } => {
            for (((y, z), &a), &b) in y.iter_mut().zip(z.iter_mut()).zip(a).zip(b) {
                *y = triad_of(a, b);
                *z = triad_of(a, b);
            }
        }
    }
}

/// Σ term(i) over the indices of `over`, in as many running sums as hide the latency of an addition.
#[inline(always)]
fn sum(over: &[f32], term: impl Fn(usize) -> f32) -> f32 {
    const SUMS: usize = 64;
    let mut sums = [0.0; SUMS];
    let whole = over.len() / SUMS * SUMS;
    for start in (0..whole).step_by(SUMS) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    (whole..over.len()).map(term).sum::<f32>() + sums.iter().sum::<f32>()
}
