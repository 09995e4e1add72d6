//! Cargo, called from a task.

use std::env;
use std::fmt;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// One call of cargo, always with the locked dependencies.
pub(crate) struct Cargo {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Cargo {
    /// `cargo <subcommand> --locked <arguments>`.
    pub(crate) fn new<'a>(subcommand: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = vec![subcommand.to_owned()];
        if subcommand != "fmt" {
            all.push("--locked".to_owned());
        }
        all.extend(arguments.into_iter().map(str::to_owned));
        Self { arguments: all, environment: Vec::new() }
    }

    /// The same with a variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The process to start, in the root of the workspace.
    pub(crate) fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(&self.arguments).current_dir(workspace.root());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end; what it prints goes where our own output goes.
    pub(crate) fn status(&self, workspace: &Workspace) -> Result<ExitStatus> {
        self.command(workspace).status().with_context(|| format!("`{self}` could not be started"))
    }
}

/// The call as one would type it.
impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}='{value}' ")?;
        }
        write!(f, "cargo {}", self.arguments.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_as_one_would_type_it() {
        let call = Cargo::new("doc", ["--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(call.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps");
        assert_eq!(Cargo::new("fmt", ["--check"]).to_string(), "cargo fmt --check");
    }
}
