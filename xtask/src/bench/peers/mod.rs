//! `cargo xtask bench --peers`: our backends beside other systems, measured in turns.

mod cast;
mod compare;
mod machine;
pub(super) mod means;
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

/// Where results and the page are kept: those of a trial apart from the latest ones.
fn shelf(workspace: &Workspace, arguments: &Arguments) -> Utf8PathBuf {
    let home = home(workspace);
    if arguments.smoke { home.join("smoke") } else { home }
}

/// The file of results: the one that is named, or the latest.
fn file(workspace: &Workspace, arguments: &Arguments) -> Utf8PathBuf {
    let latest = || shelf(workspace, arguments).join("results.json");
    arguments.json.clone().unwrap_or_else(latest)
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
    let path = file(workspace, arguments);
    if arguments.add && path.exists() {
        results.add(Results::read(&path)?);
    }
    results.write(&path)?;
    print(&results);
    if results.is_interrupted {
        println!("This run was ended before its time: the cases above are those that were done.");
    }
    if let Some(older) = &older {
        println!("{}", compare::Comparison::new(older, &results));
    }
    println!("The results are in {}.", workspace.relative(&path));
    if arguments.report || arguments.smoke {
        report(workspace, arguments, &results)?;
    }
    if arguments.smoke {
        return Ok(judge(&Results::read(&path)?));
    }
    Ok(Outcome::Holds)
}

/// Whether a trial has shown that everything works: everyone took part, wherever a library can.
fn judge(results: &Results) -> Outcome {
    let is_timed = |key: &str| {
        let mut measured = results.cases.iter().filter_map(|case| case.of(key));
        measured.any(|measured| measured.milliseconds.is_some())
    };
    let mut outcome = Outcome::Holds;
    for contender in results.contenders.iter().filter(|contender| !is_timed(&contender.key)) {
        eprintln!("error: {} did not take part", contender.key);
        outcome = Outcome::Failed;
    }
    outcome
}

/// Compares the results at hand with older ones, without measuring.
pub(super) fn compare(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let older = arguments.compare.as_deref().context("no older results are named")?;
    let newer = file(workspace, arguments);
    let (older, newer) = (Results::read(older)?, Results::read(&newer)?);
    println!("{}", compare::Comparison::new(&older, &newer));
    Ok(Outcome::Holds)
}

/// Makes the page of the results at hand, without measuring.
pub(super) fn report_latest(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    report(workspace, arguments, &Results::read(&file(workspace, arguments))?)?;
    Ok(Outcome::Holds)
}

fn report(workspace: &Workspace, arguments: &Arguments, results: &Results) -> Result<()> {
    let folder = shelf(workspace, arguments).join("report");
    page::write(results, &folder)?;
    println!("The report is {}.", workspace.relative(&folder.join("index.html")));
    if arguments.publish {
        let folder = workspace.root().join("docs/pictures");
        page::publish(results, &folder)?;
        println!("The pictures of README are in {}.", workspace.relative(&folder));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_fails_where_someone_did_not_take_part() {
        let mut results = samples::results(1.0);
        assert!(matches!(judge(&results), Outcome::Failed), "`absent` was timed nowhere");
        results.contenders.retain(|contender| contender.key != "absent");
        assert!(matches!(judge(&results), Outcome::Holds));
    }
}
