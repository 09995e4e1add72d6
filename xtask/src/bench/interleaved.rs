//! The program that lets limit and backends take turns.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::programs::{Ended, Programs};

/// What it prints of one backend in one case: a `bn_bench::rounds::Record`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Turns {
    pub(super) id: String,
    pub(super) nanoseconds: f64,
    pub(super) limit_nanoseconds: f64,
    pub(super) ratio: f64,
    pub(super) bytes: u64,
}

pub(super) fn run(
    programs: &Programs,
    environment: &[(&'static str, String)],
) -> Result<Ended<Vec<Turns>>> {
    let mut child = programs
        .command("interleaved", environment)?
        .stdout(Stdio::piped())
        .spawn()
        .context("the interleaved benchmarks could not be started")?;
    let stdout = child.stdout.take().context("the benchmarks have no output to read")?;
    let read =
        |line: std::io::Result<String>| -> Result<Turns> { Ok(serde_json::from_str(&line?)?) };
    let turns = BufReader::new(stdout).lines().map(read).collect::<Result<Vec<_>>>();
    let status = child.wait()?;
    Ok(Ended::new(status, turns.context("a record of the benchmarks could not be read")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let line = r#"{"id":"rayon/training/channels-first/f32/1/tiny/8x16x32x32","nanoseconds":1.5,
            "limit_nanoseconds":1.0,"limit":"ordinary stores","ratio":1.5,"bytes":16,"rounds":3}"#;
        let turns: Turns = serde_json::from_str(line).unwrap();
        assert_eq!((turns.nanoseconds, turns.ratio, turns.bytes), (1.5, 1.5, 16));
    }
}
