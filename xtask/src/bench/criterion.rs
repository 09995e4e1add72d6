//! The criterion benchmarks, and what criterion leaves of them on disk.

use std::fs;
use std::io;
use std::time::SystemTime;

use anyhow::{Context, Result};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::programs::{Ended, Programs};

/// Criterion's median of one benchmark.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) id: String,
    pub(super) nanoseconds: f64,
    pub(super) bytes: u64,
}

/// The part of `benchmark.json` that is read.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
enum Throughput {
    Bytes(u64),
}

/// The part of `estimates.json` that is read.
#[derive(Deserialize)]
struct Estimates {
    median: Median,
}

#[derive(Deserialize)]
struct Median {
    point_estimate: f64,
}

/// Runs the benchmarks. What criterion prints goes to standard error: standard output is the table's.
pub(super) fn run(
    programs: &Programs,
    environment: &[(&'static str, String)],
    home: &Utf8Path,
) -> Result<Ended<()>> {
    let status = programs
        .command("operations", environment)?
        .arg("--bench")
        .env("CRITERION_HOME", home)
        .stdout(io::stderr())
        .status()
        .context("the criterion benchmarks could not be started")?;
    Ok(Ended::new(status, ()))
}

/// What criterion wrote below its folder since `start`, in the order in which it was measured. What
/// is older is of another run.
pub(super) fn read(home: &Utf8Path, start: SystemTime) -> Result<Vec<Estimate>> {
    if !home.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    find(home, &mut found)?;
    found.retain(|(modified, _)| *modified >= start);
    found.sort();
    found.iter().map(|(_, path)| estimate(path)).collect()
}

/// Every `new/benchmark.json`: the folder `new` holds a benchmark's latest run, `base` the one before.
fn find(folder: &Utf8Path, found: &mut Vec<(SystemTime, Utf8PathBuf)>) -> Result<()> {
    let entries = folder.read_dir_utf8().with_context(|| format!("{folder} could not be read"))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find(path, found)?;
        } else if path.ends_with("new/benchmark.json") {
            found.push((entry.metadata()?.modified()?, path.to_owned()));
        }
    }
    Ok(())
}

fn estimate(path: &Utf8Path) -> Result<Estimate> {
    let Benchmark { full_id, throughput } = parse(path)?;
    let estimates: Estimates = parse(&path.with_file_name("estimates.json"))?;
    let Some(Throughput::Bytes(bytes)) = throughput else {
        anyhow::bail!("{path} does not say how many bytes a run moves");
    };
    Ok(Estimate { id: full_id, nanoseconds: estimates.median.point_estimate, bytes })
}

fn parse<V: DeserializeOwned>(path: &Utf8Path) -> Result<V> {
    let text = fs::read_to_string(path).with_context(|| format!("{path} could not be read"))?;
    serde_json::from_str(&text).with_context(|| format!("{path} is not as criterion writes it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BENCHMARK: &str = r#"{"group_id":"rayon/training","function_id":"channels-first/f32/1",
        "value_str":"tiny/8x16x32x32","throughput":{"Bytes":1048576},
        "full_id":"rayon/training/channels-first/f32/1/tiny/8x16x32x32","directory_name":"","title":""}"#;
    const ESTIMATES: &str =
        r#"{"mean":{"point_estimate":13.0},"median":{"point_estimate":12.5,"standard_error":0.1}}"#;

    #[test]
    fn the_latest_run_is_read_and_older_ones_are_not() {
        let home = tempfile::tempdir().unwrap();
        let home = Utf8Path::from_path(home.path()).unwrap();
        for run in ["new", "base"] {
            let folder = home.join("rayon_training/channels-first_f32_1/tiny").join(run);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("benchmark.json"), BENCHMARK).unwrap();
            fs::write(folder.join("estimates.json"), ESTIMATES).unwrap();
        }
        let now = SystemTime::now();
        let read_since = |start| read(home, start).unwrap();
        let id = "rayon/training/channels-first/f32/1/tiny/8x16x32x32".to_owned();
        let estimate = Estimate { id, nanoseconds: 12.5, bytes: 1 << 20 };
        assert_eq!(read_since(now - Duration::from_secs(60)), [estimate]);
        assert_eq!(read_since(now + Duration::from_secs(60)), []);
        assert_eq!(read(&home.join("nowhere"), now).unwrap(), []);
    }
}
