//! `cargo xtask conformance`: the suite against every backend, as a table.

mod libtest;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};
use cargo_metadata::TargetKind;

use self::libtest::{Event, Tally};
use crate::Outcome;
use crate::cargo::Cargo;
use crate::table::{self, Column};
use crate::workspace::Workspace;

/// The environment variable that names the backends which must be there.
const REQUIRE: &str = "BN_REQUIRE";

/// The name of the test target in which a backend runs the suite.
const TARGET: &str = "conformance";

/// Run the conformance suite against every backend and print what passed, failed and was ignored.
///
/// A backend is any package of the workspace with a test target named `conformance`. Fails where a
/// trial failed, and where a backend ran no trial at all.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this backend: `rayon`, or its package `bn-rayon`. May be given several times.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    backend: Vec<String>,

    /// Only trials whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Print every trial, not only those that failed.
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let known = backends(workspace);
    if known.is_empty() {
        eprintln!("error: no package has a test target `{TARGET}`, so nothing ran");
        return Ok(Outcome::Failed);
    }
    let mut chosen = Vec::new();
    for name in &arguments.backend {
        match known.iter().find(|package| *package == name || short(package) == name) {
            Some(package) => chosen.push(package.clone()),
            None => {
                let names: Vec<&str> = known.iter().map(|package| short(package)).collect();
                eprintln!("error: no backend `{name}`; there are: {}", names.join(", "));
                return Ok(Outcome::Misused);
            }
        }
    }
    if let Some(name) = required().into_iter().find(|name| !is_known(name, &known)) {
        let names: Vec<&str> = known.iter().map(|package| short(package)).collect();
        eprintln!("error: {REQUIRE} names `{name}`; there are: {}", names.join(", "));
        return Ok(Outcome::Misused);
    }
    if chosen.is_empty() {
        chosen = known;
    }
    let runs = chosen.into_iter().map(|package| {
        let run = run_suite(workspace, &package, arguments)?;
        Ok((package, run))
    });
    let runs = runs.collect::<Result<Vec<_>>>()?;
    print_runs(&runs);
    let holds = runs.iter().all(|(_, run)| run.verdict() == "holds");
    Ok(if holds { Outcome::Holds } else { Outcome::Failed })
}

/// What [`REQUIRE`] lists: `name`, or `name/variant`.
fn required() -> Vec<String> {
    let listed = env::var(REQUIRE).unwrap_or_default();
    listed.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Whether a required name is that of a backend here. A suite sees only its own name, so one that is
/// misspelt would otherwise be required of nobody.
fn is_known(required: &str, known: &[String]) -> bool {
    let backend = required.split('/').next().unwrap_or_default();
    known.iter().any(|package| short(package) == backend)
}

/// The packages that run the suite.
fn backends(workspace: &Workspace) -> Vec<String> {
    let members = workspace.members();
    let runs_suite = members.iter().filter(|package| {
        let mut targets = package.targets.iter();
        targets.any(|target| target.kind.contains(&TargetKind::Test) && target.name == TARGET)
    });
    runs_suite.map(|package| package.name.to_string()).collect()
}

/// A backend's name without the prefix of its package.
fn short(package: &str) -> &str {
    package.strip_prefix("bn-").unwrap_or(package)
}

/// What came of one backend.
struct Run {
    tally: Tally,
    exited_well: bool,
}

impl Run {
    /// A suite that was killed half-way has a tally without failures, hence the exit status.
    fn verdict(&self) -> &'static str {
        match self.tally {
            Tally { failed: 1.., .. } => "FAILED",
            _ if !self.exited_well => "DID NOT END WELL",
            Tally { passed: 0, .. } => "NOTHING RAN",
            _ => "holds",
        }
    }
}

fn run_suite(workspace: &Workspace, package: &str, arguments: &Arguments) -> Result<Run> {
    println!("\n━━ {package} ━━");
    let target = ["--package", package, "--test", TARGET, "--quiet", "--"];
    let call = Cargo::new("test", target.into_iter().chain(arguments.filter.as_deref()));
    let mut child = call
        .command(workspace)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{call}` could not be started"))?;
    let stdout = child.stdout.take().context("the suite has no output to read")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("the suite's output could not be read")?;
        match libtest::parse(&line) {
            Some(event) => {
                if arguments.verbose || matches!(event, Event::Failed) {
                    println!("{line}");
                }
                tally.count(event);
            }
            None => println!("{line}"),
        }
    }
    let status = child.wait().with_context(|| format!("`{call}` was lost"))?;
    Ok(Run { tally, exited_well: status.success() })
}

fn print_runs(runs: &[(String, Run)]) {
    use Column::{Number, Text};
    let mut table = table::new(&[
        Text("backend"),
        Number("passed"),
        Number("failed"),
        Number("ignored"),
        Text("verdict"),
    ]);
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (package, run) in runs {
        let Tally { passed, failed, ignored } = &run.tally;
        let [passed, failed] = [passed, failed].map(usize::to_string);
        let verdict = run.verdict().to_owned();
        let all_ignored = ignored.values().sum::<usize>().to_string();
        table.add_row([short(package).to_owned(), passed, failed, all_ignored, verdict]);
        for (reason, count) in ignored {
            let entry = reasons.entry(reason).or_default();
            entry.push(format!("{} {count}", short(package)));
        }
    }
    println!("\n{table}");
    if !reasons.is_empty() {
        println!("\nIgnored, and why:");
    }
    for (reason, counts) in reasons {
        println!("  {}: {reason}", counts.join(", "));
    }
}
