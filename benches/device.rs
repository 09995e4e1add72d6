//! The CUDA backend on ResNet-50's shapes, against the bandwidth of a copy of as many bytes.
//!
//! Prints one JSON object per line and case on standard output, what it is doing on standard error. Needs
//! a GPU; `crates/bn-cuda/scripts/on_gpu.sh` runs it and sets it beside PyTorch. The arguments, if any, are
//! batch sizes, parts of shapes (`x14x14`), operations (`training`), `quick` for fewer of both, and `without-clusters`
//! for what a device does that has none.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use bn_bench::Operation;
use bn_bench::device::Workload;
use bn_conformance::shapes::{self, Shape};
use bn_core::{Backend as _, Element, Layout, Memory as _, bf16};
use bn_cuda::CudaBackend;

/// Runs before the clock, and how long one measurement lasts at least; the fastest of some counts.
const WARM_UP: usize = 5;
const SECONDS: f64 = 0.004;
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Result<()> {
    let is_given = |word: &str| arguments.iter().any(|argument| argument == word);
    let mut backend = CudaBackend::new(0)?;
    if is_given("without-clusters") {
        backend = backend.without_clusters();
    }
    eprintln!("on {}", backend.device().label);
    let is_quick = is_given("quick");
    let batches: Vec<usize> =
        arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let batches = if batches.is_empty() { vec![32, 256] } else { batches };
    let wanted: Vec<&String> = arguments.iter().filter(|argument| argument.contains('x')).collect();
    let resnet = shapes::matching("resnet50/1x");
    let shapes = resnet.into_iter().step_by(if is_quick { 4 } else { 1 });
    let named = Operation::ALL.into_iter().filter(|operation| is_given(operation.name()));
    let operations = match named.collect::<Vec<_>>() {
        none if none.is_empty() && is_quick => {
            vec![Operation::Training, Operation::Inference, Operation::Backward]
        }
        none if none.is_empty() => Operation::ALL.to_vec(),
        named => named,
    };
    for shape in shapes {
        for batch in &batches {
            let shape = shape.with_batch(*batch);
            if !wanted.is_empty() && !wanted.iter().any(|part| shape.label().contains(*part)) {
                continue;
            }
            for layout in Layout::ALL {
                of_type::<f32>(&backend, &operations, &shape, layout)?;
                of_type::<bf16>(&backend, &operations, &shape, layout)?;
            }
        }
    }
    Ok(())
}

fn of_type<T: Element>(
    backend: &CudaBackend,
    operations: &[Operation],
    shape: &Shape,
    layout: Layout,
) -> Result<()> {
    let label = shape.label();
    eprintln!("{layout} {} {label}", T::DTYPE);
    let mut workload = Workload::<T, _>::new(backend.memory(), shape.problem(layout))?;
    let mut copies = BTreeMap::new();
    for &operation in operations {
        let seconds = fastest(backend, || Ok(workload.run(operation, backend)?))?;
        let bytes = shape.elements() * T::DTYPE.size() * operation.traffic().tensors();
        if let Entry::Vacant(place) = copies.entry(bytes) {
            // A copy of half the bytes reads and writes as many: what fits in L2 there, fits here.
            let from = backend.memory().alloc::<u8>(bytes / 2)?;
            let mut to = backend.memory().alloc::<u8>(bytes / 2)?;
            place.insert(fastest(backend, || Ok(backend.memory().copy(&from, &mut to)?))?);
        }
        println!(
            "{}",
            serde_json::json!({
                "operation": operation.name(), "layout": layout.name(), "dtype": T::DTYPE.name(),
                "shape": label, "bytes": bytes, "microseconds": seconds * 1e6,
                "gb_per_s": bytes as f64 / seconds / 1e9,
                "copy_gb_per_s": bytes as f64 / copies[&bytes] / 1e9,
            })
        );
    }
    Ok(())
}

/// Seconds of one call: the best of a few rounds, each of as many calls as fill the time.
fn fastest(backend: &CudaBackend, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..WARM_UP {
        call()?;
    }
    backend.synchronize()?;
    let mut calls = 4;
    let mut best: Option<f64> = None;
    let mut rounds = 0;
    while rounds < ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        backend.synchronize()?;
        let seconds = start.elapsed().as_secs_f64();
        if seconds < SECONDS {
            calls *= 2;
            continue;
        }
        let one = seconds / calls as f64;
        best = Some(best.map_or(one, |best| best.min(one)));
        rounds += 1;
    }
    best.context("a round has been measured")
}
