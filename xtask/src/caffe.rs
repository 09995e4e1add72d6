//! `cargo xtask caffe-oracle` and `cargo xtask caffe-models`: recorded runs of real Caffe, replayed.

use anyhow::Result;
use cargo_metadata::camino::Utf8PathBuf;

use crate::Outcome;
use crate::cargo::Cargo;
use crate::workspace::Workspace;

/// The program that replays, an example of this package: this one here may depend on neither.
const PACKAGE: &str = "bn-caffe";
const EXAMPLE: &str = "replay";

/// Replay a directory of recorded layers on every available backend, in both numerics.
///
/// Prints a line for each case with the largest error of each of its outputs beside what is allowed,
/// then a summary. Fails where a case exceeds its bound.
#[derive(clap::Args)]
pub(crate) struct OracleArguments {
    /// The directory: it has manifest.json and errors.json.
    #[arg(long, value_name = "DIR")]
    dir: Utf8PathBuf,
}

/// Replay traces of real nets on every available backend, in both numerics.
///
/// Prints a line for each layer with its largest error beside what is allowed, then a summary. Fails
/// where a layer exceeds its bound.
#[derive(clap::Args)]
pub(crate) struct ModelsArguments {
    /// The directory: folders in it have trunk.prototxt and trace/, others the weights.
    #[arg(long, value_name = "DIR")]
    dir: Utf8PathBuf,
}

pub(crate) fn oracle(workspace: &Workspace, arguments: &OracleArguments) -> Result<Outcome> {
    replay(workspace, "oracle", &arguments.dir)
}

pub(crate) fn models(workspace: &Workspace, arguments: &ModelsArguments) -> Result<Outcome> {
    replay(workspace, "models", &arguments.dir)
}

fn replay(workspace: &Workspace, what: &str, dir: &Utf8PathBuf) -> Result<Outcome> {
    // The program starts in the root of the workspace.
    let dir = match dir.canonicalize_utf8() {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("error: {dir}: {error}");
            return Ok(Outcome::Misused);
        }
    };
    let package = ["--package", PACKAGE, "--example", EXAMPLE, "--quiet", "--"];
    let call = Cargo::new("run", package.into_iter().chain([what, dir.as_str()]));
    Ok(match call.status(workspace)?.code() {
        Some(0) => Outcome::Holds,
        Some(2) => Outcome::Misused,
        _ => Outcome::Failed,
    })
}
