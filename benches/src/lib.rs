//! Benchmarks of the batch normalisation backends over real network shapes.
//!
//! What is measured is a [`Case`]: an [`Operation`] in a layout, an element type, a number of threads
//! and a shape of `bn_conformance::shapes`. A [`Selection`] says which; it is read from the environment,
//! because a program under criterion leaves its arguments to criterion:
//!
//! | variable | values, separated by commas | where it is not set |
//! |---|---|---|
//! | `BN_BENCH_BACKENDS` | names of backends | every one that is available |
//! | `BN_BENCH_OPERATIONS` | [names](Operation::name), or `all` | `training,inference,backward` |
//! | `BN_BENCH_LAYOUTS` | `channels-first`, `channels-last` | both |
//! | `BN_BENCH_DTYPES` | `f32`, `f64`, `f16`, `bf16` | `f32` |
//! | `BN_BENCH_THREADS` | numbers, or `all` for every core | `1,all` |
//! | `BN_BENCH_SHAPES` | parts of names: `resnet50`, `/32x`, `tiny/8x16x32x32`; `all` | the nine of `docs/performance.md` |
//! | `BN_BENCH_FILTER` | parts of a benchmark's whole id | everything |
//! | `BN_BENCH_SWEEP` | `1`: also one shape in growing batches, up to 1 GB | shapes of networks alone |
//! | `BN_BENCH_QUICK` | `1`: few shapes, few rounds, for a first look | thorough |
//!
//! Three programs measure. `operations` is a set of criterion benchmarks: the statistics of each
//! operation by itself, and the comparison with an earlier run. `interleaved` compares with the
//! [limit] of the memory: what differs by 5 % must not be measured minutes apart on a machine
//! whose memory others share, so limit and backends take turns, round by round, and the ratio is a
//! median over rounds. `cargo xtask bench` runs both and prints one table.
//! `beside` compares with other systems as well, each [in a process of its own](beside) behind a line
//! [protocol]; `own` is our side of that.

mod aligned;
mod arena;
pub mod beside;
mod case;
pub mod device;
pub mod limit;
pub mod npy;
mod operation;
pub mod protocol;
pub mod rounds;
mod selection;
mod sizes;
pub mod subject;
mod workload;

pub use arena::{Arena, open, probe};
pub use case::Case;
pub use operation::{Operation, Traffic};
pub use selection::Selection;
