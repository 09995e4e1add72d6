//! `cargo xtask ptx`: the PTX text of the CUDA kernels, made or checked.

use std::process::Command;

use anyhow::{Context, Result};

use crate::Outcome;
use crate::workspace::Workspace;

/// The script that has compilers installed as pinned wheels, and calls them.
const SCRIPT: &str = "crates/bn-cuda/scripts/ptx.py";
/// What it exits with where the compilers cannot be had.
const IGNORED: i32 = 77;

/// Compile the CUDA kernels to the PTX text that bn-cuda embeds.
///
/// Installs pinned compilers as wheels into the target folder, once; needs python3 and no CUDA toolkit.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing: check that the text is what the kernels compile to, and that they compile for
    /// sm_80, sm_90 and sm_100 without spills. Ignored, with the reason, where the compilers cannot be
    /// had.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let mut command = Command::new("python3");
    command.arg(SCRIPT).args(arguments.check.then_some("--check"));
    command.current_dir(workspace.root()).env("CARGO_TARGET_DIR", workspace.target());
    let status = match command.status() {
        Ok(status) => status,
        Err(error) if arguments.check => {
            println!("ignored: python3, which calls the compilers, cannot be started: {error}");
            return Ok(Outcome::Holds);
        }
        Err(error) => return Err(error).context("python3 could not be started"),
    };
    Ok(match status.code() {
        Some(0) => Outcome::Holds,
        Some(IGNORED) if arguments.check => Outcome::Holds,
        _ => Outcome::Failed,
    })
}
