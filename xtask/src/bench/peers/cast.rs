//! Who takes part in a comparison, and how each is started.

use std::collections::BTreeMap;

use anyhow::Result;
use cargo_metadata::camino::Utf8Path;
use serde::Serialize;

use super::python::Environment;
use super::results::{Contender, Role};
use super::{Effort, rust};
use crate::workspace::Workspace;

/// A runner: `bn_bench::beside::Contender`.
#[derive(Debug, Serialize)]
pub(super) struct Runner {
    key: String,
    role: Role,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// Those that can be started, and those that cannot, with the reason.
pub(super) struct Cast {
    pub(super) runners: Vec<Runner>,
    pub(super) left_out: Vec<Contender>,
}

/// What a peer is written in.
#[derive(Clone, Copy)]
enum Kind {
    Rust,
    /// With the group of wheels that it needs.
    Python(&'static str),
}

/// Every system that we compare with.
const PEERS: [(&str, Role, Kind); 9] = [
    ("candle-nn", Role::Peer, Kind::Rust),
    ("burn", Role::Peer, Kind::Rust),
    ("pytorch", Role::Peer, Kind::Python("pytorch")),
    ("pytorch-out", Role::Peer, Kind::Python("pytorch")),
    ("jax", Role::Peer, Kind::Python("jax")),
    ("jax-fast-variance", Role::Peer, Kind::Python("jax")),
    ("onnxruntime", Role::Peer, Kind::Python("onnxruntime")),
    ("onednn", Role::Peer, Kind::Python("onednn")),
    ("onednn-blocked", Role::Mark, Kind::Python("onednn")),
];

/// The peer that runs as a user finds it; the others keep memory that they have freed.
const STOCK: &str = "pytorch";

/// Has the allocator keep and reuse what is freed: a library that returns new tensors would otherwise
/// be measured by how fast the system clears fresh pages.
const KEEP_MEMORY: [(&str, &str); 3] = [
    ("MALLOC_MMAP_MAX_", "0"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("MALLOC_TOP_PAD_", "268435456"),
];

/// Builds and installs whoever is wanted. `own` is the program with our side of it.
pub(super) fn assemble(
    workspace: &Workspace,
    own: &Utf8Path,
    backends: &[&str],
    wanted: Option<&[&str]>,
    effort: Effort,
) -> Result<Cast> {
    if let Some(unknown) =
        wanted.into_iter().flatten().find(|name| !PEERS.iter().any(|(key, ..)| key == *name))
    {
        let known = PEERS.map(|(key, ..)| key).join(", ");
        anyhow::bail!("no peer `{unknown}`; there are: {known}");
    }
    let mut cast = Cast { runners: Vec::new(), left_out: Vec::new() };
    let ours = backends.iter().map(|&backend| (backend, Role::Ours));
    for (key, role) in ours.chain(["limit-ordinary", "limit-streaming"].map(|k| (k, Role::Limit))) {
        cast.runners.push(Runner {
            key: key.to_owned(),
            role,
            command: vec![own.to_string(), key.to_owned()],
            environment: BTreeMap::new(),
        });
    }
    let is_wanted = |key| wanted.is_none_or(|wanted| wanted.contains(&key));
    let in_reach = |kind| effort != Effort::Smoke || matches!(kind, Kind::Rust);
    let mut tools = Tools { workspace, effort, rust: None, python: None };
    for (key, role, kind) in PEERS {
        if !is_wanted(key) || !in_reach(kind) {
            continue;
        }
        match tools.command(key, kind) {
            Ok(command) => cast.runners.push(Runner {
                key: key.to_owned(),
                role,
                command,
                environment: environment(key),
            }),
            Err(reason) => cast.left_out.push(Contender {
                key: key.to_owned(),
                role,
                name: None,
                version: None,
                notes: Vec::new(),
                left_out: Some(reason),
            }),
        }
    }
    Ok(cast)
}

fn environment(key: &str) -> BTreeMap<String, String> {
    let kept = if key == STOCK { &[][..] } else { &KEEP_MEMORY[..] };
    kept.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What peers are started with, made when the first of them asks for it.
struct Tools<'a> {
    workspace: &'a Workspace,
    effort: Effort,
    rust: Option<Result<String, String>>,
    python: Option<Result<Environment, String>>,
}

impl Tools<'_> {
    /// The words that start a peer, or why it cannot be had.
    fn command(&mut self, key: &str, kind: Kind) -> Result<Vec<String>, String> {
        match kind {
            Kind::Rust => {
                let (workspace, effort) = (self.workspace, self.effort);
                let build = || rust::build(workspace, effort).map(|path| path.to_string());
                let program = self.rust.get_or_insert_with(build).clone()?;
                Ok(vec![program, key.to_owned()])
            }
            Kind::Python(group) => {
                let workspace = self.workspace;
                let python = self.python.get_or_insert_with(|| Environment::open(workspace));
                let python = python.as_ref().map_err(String::clone)?;
                python.install(group)?;
                let runner = workspace.root().join("benches/peers/python/runner.py");
                Ok(vec![python.python().to_string(), runner.to_string(), key.to_owned()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stock_peer_runs_with_the_allocator_as_it_comes() {
        assert!(environment(STOCK).is_empty());
        assert!(
            PEERS
                .iter()
                .all(|(key, ..)| *key == STOCK || environment(key).len() == KEEP_MEMORY.len())
        );
    }
}
