//! `cargo xtask bench --peers`: our backends beside other systems, measured in turns.

mod cast;
mod compare;
mod machine;
mod means;
mod python;
mod results;
mod rust;
mod session;
mod table;

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

pub(super) use self::means::{Group, groups};
#[cfg(test)]
pub(super) use self::results::samples;
pub(super) use self::results::{Case, Measured, NO_NUMBER, Results, Role};
use super::programs::Ended;
use super::{Arguments, page};
use crate::Outcome;
use crate::workspace::Workspace;

/// How thorough a comparison is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// What figures that are quoted rest on.
    Thorough,
    /// A first look.
    Quick,
    /// Tiny shapes and Rust peers only: whether everything works, and nothing about time.
    Smoke,
}

impl Effort {
    fn rounds(self) -> usize {
        match self {
            Self::Thorough => 15,
            Self::Quick => 7,
            Self::Smoke => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Thorough => "thorough",
            Self::Quick => "quick",
            Self::Smoke => "smoke",
        }
    }
}

/// Where everything lies that this command builds, installs and measures.
pub(super) fn home(workspace: &Workspace) -> Utf8PathBuf {
    workspace.target().join("bench-peers")
}

/// Where results are kept unless a file is named: the latest ones.
pub(super) fn latest(workspace: &Workspace) -> Utf8PathBuf {
    home(workspace).join("results.json")
}

/// Measures, prints the tables and writes the results.
pub(super) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let mut results = match session::measure(workspace, arguments)? {
        Ended::Well(results) => results,
        Ended::Badly(outcome) => return Ok(outcome),
    };
    if results.cases.is_empty() {
        eprintln!("error: nothing was measured");
        return Ok(if results.is_interrupted { Outcome::Failed } else { Outcome::Misused });
    }
    // The older ones are read first: they may be the file that is about to be written.
    let older = arguments.compare.as_deref().map(Results::read).transpose()?;
    let path = arguments.json.clone().unwrap_or_else(|| latest(workspace));
    if arguments.add && path.exists() {
        results.add(Results::read(&path)?);
    }
    results.write(&path)?;
    print(&results);
    if let Some(older) = &older {
        println!("{}", compare::Comparison::new(older, &results));
    }
    println!("The results are in {}.", workspace.relative(&path));
    if arguments.report || arguments.smoke {
        return report(workspace, &results);
    }
    Ok(Outcome::Holds)
}

/// Compares the results at hand with older ones, without measuring.
pub(super) fn compare(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let older = arguments.compare.as_deref().context("no older results are named")?;
    let newer = arguments.json.clone().unwrap_or_else(|| latest(workspace));
    let (older, newer) = (Results::read(older)?, Results::read(&newer)?);
    println!("{}", compare::Comparison::new(&older, &newer));
    Ok(Outcome::Holds)
}

/// Makes the page of the results at hand, without measuring.
pub(super) fn report_latest(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let path = arguments.json.clone().unwrap_or_else(|| latest(workspace));
    report(workspace, &Results::read(&path)?)
}

fn report(workspace: &Workspace, results: &Results) -> Result<Outcome> {
    let folder = home(workspace).join("report");
    page::write(results, &folder)?;
    println!("The report is {}.", workspace.relative(&folder.join("index.html")));
    Ok(Outcome::Holds)
}

fn print(results: &Results) {
    println!("{}", table::Cases(results));
    println!("{}", means::Means(results));
    println!("{}", table::Contenders(results));
}

/// Creates a folder and those above it.
fn create(folder: &Utf8Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{folder} could not be made"))
}
