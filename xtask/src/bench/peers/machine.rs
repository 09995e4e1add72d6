//! What a comparison ran on.

use std::env::consts;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// The machine and the tools, in words; what could not be found out is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Machine {
    pub(in crate::bench) cpu: String,
    /// How many this process may use.
    pub(in crate::bench) cores: usize,
    /// The widest extensions that were detected.
    pub(in crate::bench) instruction_set: Vec<String>,
    /// Level, kind and size of each cache of the first core: `L2 Unified 1024K`.
    pub(in crate::bench) caches: Vec<String>,
    pub(in crate::bench) system: String,
    pub(in crate::bench) compiler: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        Self {
            cpu: cpu().unwrap_or_default(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            instruction_set: instruction_set(),
            caches: caches(),
            system: format!("{} {}", consts::OS, consts::ARCH),
            compiler: said("rustc", &["--version"]).unwrap_or_default(),
        }
    }
}

impl Machine {
    /// The sizes of the caches that hold data, in bytes, with their names.
    pub(in crate::bench) fn cache_sizes(&self) -> Vec<(f64, String)> {
        let size = |cache: &String| {
            let [level, kind, size] = cache.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let kilobytes: f64 = size.strip_suffix('K')?.parse().ok()?;
            (kind != "Instruction").then(|| (kilobytes * 1024.0, level.to_owned()))
        };
        self.caches.iter().filter_map(size).collect()
    }
}

/// The commit that is checked out, with `+` where files have been changed since.
pub(super) fn revision(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        let root = ["-C", workspace.root().as_str()];
        said("git", &[&root[..], arguments].concat())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    if changed { commit + "+" } else { commit }
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn caches() -> Vec<String> {
    let cache = |index: usize| {
        let read = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
            fs::read_to_string(path).map(|text| text.trim().to_owned()).ok()
        };
        Some(format!("L{} {} {}", read("level")?, read("type")?, read("size")?))
    };
    (0..8).map_while(cache).collect()
}

#[cfg(target_arch = "x86_64")]
fn instruction_set() -> Vec<String> {
    let known = [
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    known.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_set() -> Vec<String> {
    Vec::new()
}
