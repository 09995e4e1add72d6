//! The recorded runs and set-up cases.

use std::path::Path;

use bn::Options;
use bn_caffe::layer::Numerics;
use bn_caffe::oracle::{Case, Engines, Replay, replay};
use libtest_mimic::Trial;

use crate::{BACKENDS, Outcome, none_of, trial};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("runs_in_exact_numerics", "oracle", |path| every_run(path, &Engines::EXACT)),
        trial("set_ups_end_as_in_caffe", "oracle", set_ups),
    ];
    for backend in BACKENDS {
        trials.push(trial(format!("runs_on_{backend}"), "oracle", move |path| {
            let (single, double) =
                (bn::open(backend, &Options::default())?, bn::open(backend, &Options::default())?);
            let engines = Engines { f32: Numerics::Fast(&*single), f64: Numerics::Fast(&*double) };
            every_run(path, &engines)
        }));
    }
    trials
}

fn every_run(path: &Path, engines: &Engines<'_>) -> Outcome {
    let Replay { cases, special, .. } = replay(path, engines)?;
    let mut problems = Vec::new();
    if (cases.len(), special.len()) != (45, 9) {
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
