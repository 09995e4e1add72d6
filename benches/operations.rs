//! Criterion benchmarks of every operation over the shape files.
//!
//! The id of a benchmark is backend/operation, layout/type/threads, shape. Which are run: see the crate
//! `bn_bench`; on top of that criterion takes its own filter and options behind `--`.
#![expect(clippy::print_stderr, reason = "a program talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use bn_bench::{Case, Selection, open, probe};
use criterion::{BenchmarkId, Criterion, Throughput};

fn main() -> ExitCode {
    let selection = match Selection::from_env() {
        Ok(selection) => selection,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    for note in selection.notes() {
        eprintln!("{note}");
    }
    let mut criterion = if selection.is_quick() {
        let short = Criterion::default().sample_size(10).nresamples(1000);
        short.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200))
    } else {
        let long = Criterion::default().sample_size(30).nresamples(10_000);
        long.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
    };
    criterion = criterion.configure_from_args();
    for (case, backends) in selection.cases() {
        for backend in backends {
            bench(&mut criterion, &case, backend);
        }
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn bench(criterion: &mut Criterion, case: &Case, backend: &str) {
    if let Err(error) = probe(case, backend) {
        eprintln!("{}: left out: {error}", case.id(backend));
        return;
    }
    // Opened when criterion's own filter lets the benchmark run, and once for all its samples.
    let mut opened = None;
    let mut group = criterion.benchmark_group(case.group(backend));
    group.throughput(Throughput::Bytes(case.bytes()));
    group.bench_function(BenchmarkId::new(case.function(), case.shape), |bencher| {
        let arena = opened.get_or_insert_with(|| {
            open(case, &[backend]).unwrap_or_else(|error| panic!("{}: {error}", case.id(backend)))
        });
        bencher.iter(|| arena.run(0).expect("the backend takes what it took in small"));
    });
    group.finish();
}
