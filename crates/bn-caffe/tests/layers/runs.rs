//! The recorded runs and set-up cases.

use std::path::{Path, PathBuf};

use bn::Options;
use bn_caffe::layer::Numerics;
use bn_caffe::oracle::{Case, Engines, Replay, replay};
use libtest_mimic::Trial;

use crate::{BACKENDS, Outcome, none_of, trial};

/// A selection of the recordings that ships with the project, and how many runs it has.
const SHIPPED: (&str, [usize; 2]) = ("tests/data/oracle", [21, 9]);

/// All of them.
const ALL: [usize; 2] = [45, 9];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("set_ups_end_as_in_caffe", "oracle", set_ups)];
    for engine in std::iter::once("exact").chain(BACKENDS) {
        trials.push(trial(format!("runs_{engine}"), "oracle", move |path| run(path, ALL, engine)));
        trials.push(Trial::test(format!("shipped_runs_{engine}"), move || {
            run(&shipped(), SHIPPED.1, engine)
        }));
    }
    trials.push(Trial::test("shipped_set_ups_end_as_in_caffe", || set_ups(&shipped())));
    trials
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(SHIPPED.0)
}

/// Every run of a directory, in exact numerics or on a backend.
fn run(path: &Path, counts: [usize; 2], engine: &str) -> Outcome {
    if engine == "exact" {
        return every_run(path, counts, &Engines::EXACT);
    }
    let options = Options::default();
    let (single, double) = (bn::open(engine, &options)?, bn::open(engine, &options)?);
    let engines = Engines { f32: Numerics::Fast(&*single), f64: Numerics::Fast(&*double) };
    every_run(path, counts, &engines)
}

fn every_run(path: &Path, counts: [usize; 2], engines: &Engines<'_>) -> Outcome {
    let Replay { cases, special, .. } = replay(path, engines)?;
    let mut problems = Vec::new();
    if [cases.len(), special.len()] != counts {
        problems.push(format!("{} cases and {} special ones", cases.len(), special.len()));
    }
    problems.extend(cases.iter().chain(&special).filter_map(problem));
    none_of(problems)
}

pub fn problem(case: &Case) -> Option<String> {
    if case.passes() {
        return None;
    }
    let outputs = match &case.outputs {
        Err(error) => return Some(format!("{}: {error}", case.name)),
        Ok(outputs) => outputs,
    };
    let outputs = outputs.iter().filter(|output| !output.passes()).map(|o| {
        format!(
            "{}: step {} {}: off by {:e} of {:e}, {} of {} values differ, {:?}",
            case.name, o.step, o.name, o.max_abs, o.max_expected, o.different, o.values, o.bound
        )
    });
    let lines: Vec<_> = outputs.collect();
    Some(if lines.is_empty() { format!("{}: no outputs", case.name) } else { lines.join("\n") })
}

fn set_ups(path: &Path) -> Outcome {
    let replay = replay(path, &Engines::EXACT)?;
    let mut problems = Vec::new();
    if replay.set_ups.len() != 28 {
        problems.push(format!("{} set-up cases", replay.set_ups.len()));
    }
    for case in &replay.set_ups {
        if !case.passes() {
            problems.push(format!("{}: {:?}, found {:?}", case.name, case.expected, case.found));
        }
        // A refusal names the layer, what was found and what is expected.
        if let Err(error) = &case.found {
            let message = error.to_string();
            let layer = if case.name.starts_with("bn") { "\"b\"" } else { "\"s\"" };
            if !message.contains(layer) || !message.contains("expected") {
                problems.push(format!("{}: {message}", case.name));
            }
        }
    }
    none_of(problems)
}
