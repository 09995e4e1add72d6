//! The Python peers: pinned wheels in a virtual environment of this command's own.

use std::fs;
use std::process::Command;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

use super::home;
use crate::workspace::Workspace;

/// A virtual environment, and what is installed in it.
pub(super) struct Environment {
    venv: Utf8PathBuf,
    requirements: Utf8PathBuf,
}

impl Environment {
    /// Makes it where it is not there yet.
    pub(super) fn open(workspace: &Workspace) -> Result<Self, String> {
        let venv = home(workspace).join("venv");
        let requirements = workspace.root().join("benches/peers/python/requirements");
        let environment = Self { venv, requirements };
        if !environment.python().exists() {
            let make = ["-m", "venv", environment.venv.as_str()];
            say(Command::new("python3").args(make), "no virtual environment")?;
        }
        Ok(environment)
    }

    /// Its interpreter.
    pub(super) fn python(&self) -> Utf8PathBuf {
        self.venv.join("bin/python")
    }

    /// Installs what a group of peers needs, by the file of that name, unless it is installed.
    pub(super) fn install(&self, group: &str) -> Result<(), String> {
        let wanted = self.requirements.join(group).with_extension("txt");
        let installed = self.venv.join(format!("installed-{group}.txt"));
        if is_same(&wanted, &installed) {
            return Ok(());
        }
        eprintln!("installing {group} into {}", self.venv);
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        say(pip.args(["--requirement", wanted.as_str()]), "pip could not install it")?;
        fs::copy(&wanted, &installed).map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn is_same(wanted: &Utf8Path, installed: &Utf8Path) -> bool {
    fs::read(wanted).ok().is_some_and(|wanted| fs::read(installed).ok() == Some(wanted))
}

/// Runs a command to its end; an error is the last that it said.
fn say(command: &mut Command, failure: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{failure}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{failure}: {}", last.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_command_that_fails_are_the_reason() {
        let mut command = Command::new("sh");
        let said = say(command.args(["-c", "echo one >&2; echo two >&2; exit 1"]), "no luck");
        assert_eq!(said, Err("no luck: two".to_owned()));
        let missing = say(&mut Command::new("no-such-program-anywhere"), "no luck");
        assert!(missing.unwrap_err().starts_with("no luck: "));
    }
}
