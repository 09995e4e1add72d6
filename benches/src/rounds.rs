//! Limit and backends in turn: in each round every contender runs for a few milliseconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::limit::{Limit, Stores};
use crate::{Case, open};

/// How long a contender runs in one round, at least.
const TURN: Duration = Duration::from_millis(2);

/// What came of one backend in one case.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The case with the backend, as in criterion's output.
    pub id: String,
    /// The median over rounds, in nanoseconds.
    pub nanoseconds: f64,
    /// The limit's median over the same rounds, in nanoseconds.
    pub limit_nanoseconds: f64,
    /// With which kind of store that was.
    pub limit: &'static str,
    /// The median over rounds of the backend's time divided by the limit's time in that round.
    pub ratio: f64,
    /// The least bytes that the operation moves.
    pub bytes: u64,
    /// How many rounds there were.
    pub rounds: usize,
}

/// Measures a case on these backends against its limit, in `rounds` rounds.
///
/// A round is one turn for each kind of store and each backend, so that what slows the machine down
/// for a second slows them all. The limit is the kind of store with the lower median.
///
/// # Errors
///
/// Where a backend cannot be opened or refuses the case.
pub fn measure(case: &Case, backends: &[&str], rounds: usize) -> Result<Vec<Record>> {
    let mut arena = open(case, backends)?;
    let mut limit = Limit::new(case.operation.traffic(), case.tensor_bytes(), case.threads);
    let stores = limit.stores();

    let limit_iterations: Vec<u32> =
        stores.iter().map(|&stores| iterations(limit.time(stores, 1))).collect();
    let mut backend_iterations = Vec::new();
    for (index, backend) in backends.iter().enumerate() {
        arena.run(index).with_context(|| case.id(backend))?;
        let start = Instant::now();
        arena.run(index)?;
        backend_iterations.push(iterations(start.elapsed()));
    }

    let mut limit_times = vec![Vec::new(); stores.len()];
    let mut backend_times = vec![Vec::new(); backends.len()];
    for _ in 0..rounds {
        for (index, &stores) in stores.iter().enumerate() {
            let iterations = limit_iterations[index];
            limit_times[index].push(per_iteration(limit.time(stores, iterations), iterations));
        }
        for index in 0..backends.len() {
            // As for the limit, one iteration brings into the cache what fits there.
            arena.run(index)?;
            let start = Instant::now();
            for _ in 0..backend_iterations[index] {
                arena.run(index)?;
            }
            backend_times[index].push(per_iteration(start.elapsed(), backend_iterations[index]));
        }
    }

    let (stores, limit_times) = fastest(stores, &limit_times);
    let records = backends.iter().zip(&backend_times).map(|(backend, times)| Record {
        id: case.id(backend),
        nanoseconds: median(times),
        limit_nanoseconds: median(limit_times),
        limit: stores.name(),
        ratio: median(
            &times.iter().zip(limit_times).map(|(time, limit)| time / limit).collect::<Vec<_>>(),
        ),
        bytes: case.bytes(),
        rounds,
    });
    Ok(records.collect())
}

/// How many iterations fill a turn.
fn iterations(one: Duration) -> u32 {
    let needed = TURN.as_nanos().div_ceil(one.as_nanos().max(1));
    u32::try_from(needed).unwrap_or(u32::MAX)
}

fn per_iteration(time: Duration, iterations: u32) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(iterations)
}

fn fastest<'a>(stores: &[Stores], times: &'a [Vec<f64>]) -> (Stores, &'a [f64]) {
    let all = stores.iter().copied().zip(times.iter().map(Vec::as_slice));
    let fastest = all.min_by(|(_, left), (_, right)| median(left).total_cmp(&median(right)));
    fastest.expect("every traffic has ordinary stores")
}

/// The middle value, or the mean of both.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use bn_conformance::shapes;
    use bn_core::{DType, Layout};

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[5.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn the_limit_is_the_faster_kind_of_store() {
        let stores = [Stores::Ordinary, Stores::Streaming];
        let times = [vec![2.0, 1.0, 3.0], vec![1.5, 9.0, 1.0]];
        assert_eq!(fastest(&stores, &times), (Stores::Streaming, &[1.5, 9.0, 1.0][..]));
    }

    #[test]
    fn a_turn_is_filled() {
        assert_eq!(iterations(Duration::from_micros(300)), 7);
        assert_eq!(iterations(Duration::from_secs(1)), 1);
        assert_eq!(iterations(Duration::ZERO), 2_000_000);
    }

    #[test]
    fn a_record_has_the_case_and_its_figures() {
        let case = Case {
            operation: Operation::Backward,
            layout: Layout::ChannelsLast,
            dtype: DType::BF16,
            threads: 1,
            shape: shapes::matching("tiny/8x16x32x32")[0],
        };
        let [record] = measure(&case, &["naive"], 1).unwrap().try_into().unwrap();
        assert_eq!(record.id, "naive/backward/channels-last/bf16/1/tiny/8x16x32x32");
        assert_eq!(record.bytes, 3 * 2 * 8 * 16 * 32 * 32);
        assert_eq!(record.ratio, record.nanoseconds / record.limit_nanoseconds);
    }
}
