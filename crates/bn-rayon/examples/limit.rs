//! Times every operation beside a copy of the same bytes, in one run: `cargo run --release --example
//! limit -p bn-rayon [threads]`. Medians in milliseconds, and the ratio to the copy that bypasses the
//! cache or not, whichever is faster.
#![expect(clippy::print_stdout, reason = "a program whose output is a table")]

use std::time::Instant;

use bn_core::{
    Backward, BatchNormBackend, Element, Error, FixedStatistics, ForwardInference, ForwardTraining,
    InOut, Layout, Problem, Request, SavedStatistics, SavedTensor, bf16,
};
use bn_rayon::RayonBackend;

const SHAPES: [&[usize]; 8] = [
    &[32, 64, 112, 112],
    &[32, 256, 56, 56],
    &[32, 512, 28, 28],
    &[32, 1024, 14, 14],
    &[32, 2048, 7, 7],
    &[4096, 1024],
    &[1, 64, 56, 56],
    &[8, 16, 32, 32],
];

fn main() -> Result<(), Error> {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let backend = RayonBackend::with_threads(threads)?;
    println!("{threads} threads; ms of the copy, of ours, and the ratio");
    for layout in Layout::ALL {
        for dims in SHAPES {
            let mut dims = dims.to_vec();
            if layout == Layout::ChannelsLast {
                let channels = dims.remove(1);
                dims.push(channels);
            }
            let problem = Problem::new(&dims, layout)?;
            measure::<f32>(&backend, &problem)?;
            measure::<bf16>(&backend, &problem)?;
        }
    }
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure<T: Element>(backend: &RayonBackend, problem: &Problem) -> Result<(), Error> {
    let (elements, channels) = (problem.elements(), problem.channels());
    // The upper bits of a product: the lower ones repeat with every power of two, and so within channels.
    let value = |i: usize| {
        T::from_f64(f64::from((i as u32).wrapping_mul(2_654_435_761) >> 22) / 256.0 - 2.0)
    };
    let x: Vec<T> = (0..elements).map(value).collect();
    let dy: Vec<T> = (0..elements).map(|i| value(i + 77)).collect();
    let mut y = vec![T::default(); elements];
    let ones = vec![<T::Param as Element>::from_f64(1.0); channels];
    let (mut mean, mut inv_std) = (vec![0.0; channels], vec![1.0; channels]);
    let rounds = (60_000_000 / elements).clamp(7, 2001);
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..rounds {
        let mut clock = |slot: usize, work: &mut dyn FnMut() -> Result<(), Error>| {
            let start = Instant::now();
            work()?;
            times[slot].push(start.elapsed().as_secs_f64() * 1e3);
            Ok::<(), Error>(())
        };
        clock(0, &mut || {
            // Large copies of the C library bypass the cache.
            y.copy_from_slice(&x);
            Ok(())
        })?;
        clock(1, &mut || {
            let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
            let io = InOut::new(&x[..], &mut y[..]);
            let request = ForwardTraining {
                gamma: Some(&ones[..]),
                ..ForwardTraining::new(*problem, io, saved)
            };
            backend.forward_training(request.check()?)
        })?;
        clock(2, &mut || {
            let io = InOut::new(&x[..], &mut y[..]);
            let statistics = FixedStatistics::Given { mean: &mean[..], inv_std: &inv_std[..] };
            backend.forward_inference(ForwardInference::new(*problem, io, statistics).check()?)
        })?;
        clock(3, &mut || {
            let io = InOut::new(&dy[..], &mut y[..]);
            let request = Backward {
                gamma: Some(&ones[..]),
                ..Backward::new(*problem, io, SavedTensor::Input(&x[..]), &mean[..], &inv_std[..])
            };
            backend.backward(request.check()?)
        })?;
    }
    let [copy, train, infer, backward, _] =
        times.map(|times| if times.is_empty() { 0.0 } else { median(times) });
    println!(
        "{:4} {:14} {:>5}x{:<5}x{:<6} copy {copy:8.3}  train {train:8.3} {:5.2}  infer {infer:8.3} {:5.2}  backward {backward:8.3} {:5.2}",
        T::DTYPE,
        problem.layout(),
        problem.batch(),
        channels,
        problem.spatial(),
        train / copy,
        infer / copy,
        backward / copy / 1.6,
    );
    Ok(())
}
