//! A directory of the oracle's format.

use std::path::Path;

use bn_caffe::Error;
use bn_caffe::oracle::{Expected, Replay, SetUp, replay as replay_with};

use crate::engine::Engine;
use crate::report::{Tally, verdict};

/// Replays it in every arithmetic; whether everything holds.
pub fn replay(directory: &Path) -> Result<bool, Error> {
    let mut summaries = Vec::new();
    for (index, engine) in Engine::all().iter().enumerate() {
        let Replay { cases, special, set_ups } = replay_with(directory, &engine.engines())?;
        let names = cases.iter().chain(&special).map(|case| case.name.len());
        let width = names.max().unwrap_or(0);
        println!("\n{}", engine.name);
        let mut tally = Tally::default();
        for case in cases.iter().chain(&special) {
            tally.case(width, case);
        }
        let what = format!("{}: {} cases, {} special", engine.name, cases.len(), special.len());
        summaries.push((what, tally));
        // Setting a layer up involves no arithmetic.
        if index == 0 {
            let mut tally = Tally::default();
            println!("\nset-up");
            let width = set_ups.iter().map(|case| case.name.len()).max().unwrap_or(0);
            for case in &set_ups {
                println!("  {}  {:width$}  {}", verdict(case.passes()), case.name, outcome(case));
                tally.count(case.passes());
            }
            summaries.push((format!("set-up: {} cases", set_ups.len()), tally));
        }
    }
    println!();
    for (what, tally) in &summaries {
        tally.summary(what);
    }
    Ok(summaries.iter().all(|(_, tally)| tally.holds()))
}

fn outcome(case: &SetUp) -> String {
    match (&case.expected, &case.found) {
        (Expected::Accepts, Ok(())) => "accepted, as by Caffe".into(),
        (Expected::Aborts(_), Err(error)) => format!("refused, as by Caffe: {error}"),
        (Expected::Accepts, Err(error)) => format!("Caffe accepts it; refused: {error}"),
        (Expected::Aborts(text), Ok(())) => format!("accepted; Caffe aborts: {text}"),
    }
}
