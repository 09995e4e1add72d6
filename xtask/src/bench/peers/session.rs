//! The measurement: builds, installs, starts the program `beside` and collects its lines.

use std::io::{BufRead, BufReader};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cast::{self, Cast, Runner};
use super::machine::{self, Machine};
use super::results::{Accuracy, Case, Contender, Results};
use super::{Effort, create, home};
use crate::Outcome;
use crate::bench::Arguments;
use crate::bench::programs::{Ended, Programs};
use crate::workspace::Workspace;

/// What the program reads: `bn_bench::beside::Plan`.
#[derive(Serialize)]
struct Plan<'a> {
    contenders: &'a [Runner],
    rounds: usize,
    scratch: &'a str,
}

/// What it prints: `bn_bench::beside::Line`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Contender(Contender),
    Case(Case),
    Accuracy(Accuracy),
}

/// What a trial measures unless it is told.
const SMOKE: [(&str, &str); 3] = [
    ("BN_BENCH_SHAPES", "tiny"),
    ("BN_BENCH_FILTER", "tiny/,sizes/1x,sizes/4x"),
    ("BN_BENCH_THREADS", "1"),
];

pub(super) fn measure(workspace: &Workspace, arguments: &Arguments) -> Result<Ended<Results>> {
    let Some(programs) = Programs::build(workspace)? else {
        return Ok(Ended::Badly(Outcome::Failed));
    };
    let effort = arguments.effort();
    let home = home(workspace);
    create(&home)?;
    let list = |text: &'static str, named: &Option<String>| -> Vec<String> {
        let text = named.as_deref().unwrap_or(text);
        text.split(',').map(|word| word.trim().to_owned()).collect()
    };
    let backends = list("rayon", &arguments.backend);
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    let wanted = arguments.peer.as_ref().map(|_| list("", &arguments.peer));
    let wanted: Option<Vec<&str>> =
        wanted.as_ref().map(|names| names.iter().map(String::as_str).collect());
    let own = programs.path("own")?;
    let Cast { runners, left_out } =
        cast::assemble(workspace, own, &backends, wanted.as_deref(), effort)?;

    let plan = home.join("plan.json");
    let scratch = home.join("scratch");
    let plan_text =
        Plan { contenders: &runners, rounds: effort.rounds(), scratch: scratch.as_str() };
    std::fs::write(&plan, serde_json::to_string_pretty(&plan_text)?)?;

    let mut environment = arguments.environment();
    environment.retain(|(name, _)| *name != "BN_BENCH_BACKENDS");
    environment.push(("BN_BENCH_BACKENDS", backends[0].to_owned()));
    environment.push(("BN_BENCH_PLAN", plan.to_string()));
    if effort == Effort::Smoke {
        for (name, value) in SMOKE {
            if !environment.iter().any(|(known, _)| *known == name) {
                environment.push((name, value.to_owned()));
            }
        }
    }
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_interrupted);
    // The program hears Ctrl-C as well and ends; what it has printed by then is kept.
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst))?;

    let mut child = programs
        .command("beside", &environment)?
        .stdout(Stdio::piped())
        .spawn()
        .context("the comparison could not be started")?;
    let stdout = child.stdout.take().context("the comparison has no output to read")?;
    let (mut contenders, mut cases, mut accuracy) = (Vec::new(), Vec::new(), Vec::new());
    for line in BufReader::new(stdout).lines() {
        match serde_json::from_str(&line?).context("a line of the comparison is no result")? {
            Line::Contender(contender) => contenders.push(contender),
            Line::Case(case) => cases.push(case),
            Line::Accuracy(errors) => accuracy.push(errors),
        }
    }
    let status = child.wait()?;
    let is_interrupted = is_interrupted.load(Ordering::SeqCst);
    if let Some(outcome) = failure(status, is_interrupted) {
        return Ok(Ended::Badly(outcome));
    }
    contenders.extend(left_out);
    Ok(Ended::Well(Results {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        revision: machine::revision(workspace),
        effort: effort.name().to_owned(),
        rounds: effort.rounds(),
        is_interrupted,
        machine: Machine::this(),
        contenders,
        cases,
        accuracy,
    }))
}

/// What the program's exit status means: 2 where its selection names nothing.
fn failure(status: ExitStatus, is_interrupted: bool) -> Option<Outcome> {
    match status.code() {
        Some(0) => None,
        _ if is_interrupted => None,
        Some(2) => Some(Outcome::Misused),
        _ => Some(Outcome::Failed),
    }
}
