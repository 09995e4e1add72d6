//! Backends against the limit of the memory, in turns.
//!
//! Prints one JSON object per line and case on standard output, what it is doing on standard error.
//! Which cases: see the crate `bn_bench`. Usually run as `cargo xtask bench`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::process::ExitCode;

use bn_bench::{Selection, probe, rounds};

const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 5;

fn main() -> ExitCode {
    let selection = match Selection::from_env() {
        Ok(selection) => selection,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    for note in selection.notes() {
        eprintln!("{note}");
    }
    let rounds = if selection.is_quick() { QUICK_ROUNDS } else { ROUNDS };
    let cases = selection.cases();
    for (number, (case, backends)) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}", number + 1, cases.len(), case.id(&backends.join(", ")));
        let takes = |backend: &&str| match probe(case, backend) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("{backend}: left out: {error}");
                false
            }
        };
        let backends: Vec<&str> = backends.iter().copied().filter(takes).collect();
        match rounds::measure(case, &backends, rounds) {
            Ok(records) => records.iter().for_each(print),
            Err(error) => {
                eprintln!("error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn print(record: &rounds::Record) {
    println!("{}", serde_json::to_string(record).expect("a record is plain data"));
}
