//! The benchmark programs: built by cargo, started by us, so that their exit status is their own.

use std::io::BufReader;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use cargo_metadata::Message;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

use crate::Outcome;
use crate::cargo::Cargo;
use crate::workspace::Workspace;

const PACKAGE: &str = "bn-bench";

/// Where the programs of the benchmark package lie.
pub(super) struct Programs {
    root: Utf8PathBuf,
    executables: Vec<(String, Utf8PathBuf)>,
}

/// How a program ended, and what it brought.
pub(super) enum Ended<R> {
    Well(R),
    Badly(Outcome),
}

impl Programs {
    /// Builds them all; `None` where they do not compile, which cargo has then said.
    pub(super) fn build(workspace: &Workspace) -> Result<Option<Self>> {
        let format = "--message-format=json-render-diagnostics";
        let call = Cargo::new("bench", ["--package", PACKAGE, "--benches", "--no-run", format]);
        let mut child = call
            .command(workspace)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{call}` could not be started"))?;
        let stdout = child.stdout.take().context("cargo has no output to read")?;
        let mut executables = Vec::new();
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message?
                && let Some(path) = artifact.executable
            {
                executables.push((artifact.target.name, path));
            }
        }
        let root = workspace.root().to_owned();
        Ok(child.wait()?.success().then_some(Self { root, executables }))
    }

    /// Where one of them lies.
    pub(super) fn path(&self, name: &str) -> Result<&Utf8Path> {
        let found = self.executables.iter().find(|(program, _)| program == name);
        let (_, path) = found.with_context(|| format!("{PACKAGE} has no benchmark `{name}`"))?;
        Ok(path)
    }

    /// One of them, ready to start in the root of the workspace. It reads nothing.
    pub(super) fn command(
        &self,
        name: &str,
        environment: &[(&'static str, String)],
    ) -> Result<Command> {
        let mut command = Command::new(self.path(name)?);
        command.current_dir(&self.root).stdin(Stdio::null());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

impl<R> Ended<R> {
    /// By the exit status of a benchmark program: 2 where its selection names nothing.
    pub(super) fn new(status: ExitStatus, result: R) -> Self {
        match status.code() {
            Some(0) => Self::Well(result),
            Some(2) => Self::Badly(Outcome::Misused),
            _ => Self::Badly(Outcome::Failed),
        }
    }
}
