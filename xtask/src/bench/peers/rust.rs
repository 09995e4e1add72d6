//! The Rust peers: a workspace of their own, which only this command compiles.

use std::env;
use std::process::Command;

use anyhow::Result;
use cargo_metadata::camino::Utf8PathBuf;

use super::{Effort, home};
use crate::workspace::Workspace;

/// Builds their program and says where it lies, or why there is none.
///
/// For figures it is compiled for this machine's processor: candle chooses its instruction set when
/// it is compiled, and a user who cares about speed does this.
pub(super) fn build(workspace: &Workspace, effort: Effort) -> Result<Utf8PathBuf, String> {
    let folder = workspace.root().join("benches/peers/rust");
    let target = home(workspace).join("rust");
    let (profile, flags) = match effort {
        Effort::Smoke => ("smoke", None),
        Effort::Quick | Effort::Thorough => ("release", Some("-C target-cpu=native")),
    };
    eprintln!("building the Rust peers; the first time takes minutes");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "--quiet", "--profile", profile]);
    command.arg("--target-dir").arg(&target).current_dir(&folder);
    if let Some(flags) = flags {
        command.env("RUSTFLAGS", flags);
    }
    match command.status() {
        Ok(status) if status.success() => {
            let program = format!("bn-peers{}", env::consts::EXE_SUFFIX);
            Ok(target.join(profile).join(program))
        }
        Ok(_) => Err("it does not compile".to_owned()),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}
