//! `cargo xtask bench`: criterion's medians, and the ratio to the limit of the memory, as one table.

mod criterion;
mod interleaved;
mod layer;
mod page;
mod peers;
mod programs;
mod report;
mod summary;

use std::fs;
use std::time::SystemTime;

use anyhow::{Context, Result};
use cargo_metadata::camino::Utf8PathBuf;
use clap::ValueEnum;

use self::programs::{Ended, Programs};
use self::report::Report;
use crate::Outcome;
use crate::workspace::Workspace;

/// Measure the backends over real network shapes and print ms, GB/s and the percentage of the limit.
///
/// GB/s count the least bytes: training and inference read one tensor and write one, backward reads
/// two and writes one. The limit is a plain copy (training, inference) or triad (backward) of the same
/// size on the same number of threads; limit and backends take turns, round by round, and the ratio is
/// the median over rounds. Criterion measures each benchmark by itself, for the time and GB/s.
///
/// `--only layer` measures something else: forward and backward of candle_nn's layer beside
/// bn-candle's, alone and in a conv–bn–relu block, in time and in memory. Nothing else builds candle, so
/// its first run takes minutes to compile.
///
/// Lists are separated by commas; `all` means every one. Names of operations: training, inference,
/// backward, each also with +relu and +add-relu; moments, normalize, backward-reduce, backward-apply.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The backends to measure [default: every one that is available].
    ///
    /// `naive` is left out of large shapes unless it is named here.
    #[arg(long, value_name = "NAMES")]
    backend: Option<String>,

    /// The operations to measure [default: training,inference,backward].
    #[arg(long, value_name = "NAMES")]
    operation: Option<String>,

    /// channels-first, channels-last [default: both].
    #[arg(long, value_name = "NAMES")]
    layout: Option<String>,

    /// f32, f64, f16, bf16 [default: f32].
    #[arg(long, value_name = "NAMES")]
    dtype: Option<String>,

    /// Numbers of threads, `all` for every core, `doubling` for 1, 2, 4 and so on [default: 1,all].
    #[arg(long, value_name = "NUMBERS")]
    threads: Option<String>,

    /// Parts of the names of shapes: resnet50, /32x, tiny/8x16x32x32 [default: nine of them].
    #[arg(long, value_name = "PARTS")]
    shape: Option<String>,

    /// Only benchmarks whose id contains one of these parts.
    ///
    /// An id is backend/operation/layout/type/threads/file/shape.
    #[arg(long, value_name = "PARTS")]
    filter: Option<String>,

    /// Few shapes, few rounds, short samples: a first look, not a measurement.
    #[arg(long)]
    quick: bool,

    /// Which measurement to make [default: interleaved and criterion].
    #[arg(long, value_name = "KIND")]
    only: Option<Kind>,

    /// Write the rows of the table to this file as well, one JSON object per line.
    ///
    /// With --peers the file holds everything that was found out, as one object.
    #[arg(long, value_name = "FILE")]
    json: Option<Utf8PathBuf>,

    /// Compare with other systems in the same run: candle-nn, burn, PyTorch, JAX, ONNX Runtime, oneDNN.
    ///
    /// Builds and installs them below target/bench-peers. Every contender is a process of its own,
    /// pinned to as many cores as it has threads; results are compared with the reference before they are
    /// timed, and contenders take turns. Ctrl-C keeps what was measured.
    #[arg(long, conflicts_with = "only")]
    peers: bool,

    /// Only these peers [default: every one that can be had].
    #[arg(long, value_name = "NAMES", requires = "peers")]
    peer: Option<String>,

    /// Also measure one shape in batches from 16 kB to 1 GB, as far as memory allows, and everyone's error at
    /// means from 0 to 1e6: the pictures of time by size and of error by mean.
    ///
    /// Sizes are measured in the first layout and on the first number of threads. Their ids have
    /// `sizes/` in them: `--filter sizes/` leaves the shapes of networks out.
    #[arg(long, requires = "peers")]
    sweep: bool,

    /// Whether the comparison works: Rust peers and tiny shapes, without a word about time.
    ///
    /// Fails where a peer does not take part. Keeps what it writes apart from results of --peers.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    smoke: bool,

    /// What got faster or slower since these results of --peers: of this run, or of the latest one.
    #[arg(long, value_name = "FILE")]
    compare: Option<Utf8PathBuf>,

    /// Keep the cases of the file of results that this run does not measure again: for a large comparison in
    /// several sittings.
    #[arg(long, requires = "peers")]
    add: bool,

    /// Make a page and pictures of the results of --peers: of this run, or of the latest one.
    #[arg(long)]
    report: bool,

    /// Put the pictures that README shows, and what they rest on, into docs/pictures.
    #[arg(long, requires = "report", conflicts_with = "smoke")]
    publish: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Criterion's statistics of each benchmark by itself.
    Criterion,
    /// Backends and limit in turns.
    Interleaved,
    /// candle_nn's layer and bn-candle's in turns.
    Layer,
}

impl Arguments {
    /// What the benchmark programs read from their environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let lists = [
            ("BN_BENCH_BACKENDS", &self.backend),
            ("BN_BENCH_OPERATIONS", &self.operation),
            ("BN_BENCH_LAYOUTS", &self.layout),
            ("BN_BENCH_DTYPES", &self.dtype),
            ("BN_BENCH_THREADS", &self.threads),
            ("BN_BENCH_SHAPES", &self.shape),
            ("BN_BENCH_FILTER", &self.filter),
        ];
        let lists = lists.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let flags = [("BN_BENCH_QUICK", self.quick), ("BN_BENCH_SWEEP", self.sweep || self.smoke)];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set);
        lists.chain(flags.map(|(name, _)| (name, "1".to_owned()))).collect()
    }

    fn effort(&self) -> peers::Effort {
        match (self.smoke, self.quick) {
            (true, _) => peers::Effort::Smoke,
            (false, true) => peers::Effort::Quick,
            (false, false) => peers::Effort::Thorough,
        }
    }

    fn includes(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    if arguments.only == Some(Kind::Layer) {
        return layer::run(workspace, arguments);
    }
    if arguments.peers || arguments.smoke {
        return peers::run(workspace, arguments);
    }
    if arguments.report {
        return peers::report_latest(workspace, arguments);
    }
    if arguments.compare.is_some() {
        return peers::compare(workspace, arguments);
    }
    let Some(programs) = Programs::build(workspace)? else { return Ok(Outcome::Failed) };
    let environment = arguments.environment();
    let mut report = Report::default();
    if arguments.includes(Kind::Interleaved) {
        match interleaved::run(&programs, &environment)? {
            Ended::Well(turns) => report.add_turns(turns)?,
            Ended::Badly(outcome) => return Ok(outcome),
        }
    }
    if arguments.includes(Kind::Criterion) {
        let start = SystemTime::now();
        let home = workspace.target().join("criterion");
        match criterion::run(&programs, &environment, &home)? {
            Ended::Well(()) => report.add_estimates(criterion::read(&home, start)?)?,
            Ended::Badly(outcome) => return Ok(outcome),
        }
    }
    if report.is_empty() {
        eprintln!("error: nothing was measured: no benchmark is in the selection");
        return Ok(Outcome::Misused);
    }
    println!("{report}");
    if let Some(path) = &arguments.json {
        fs::write(path, report.json_lines()?)
            .with_context(|| format!("{path} could not be written"))?;
    }
    Ok(Outcome::Holds)
}
