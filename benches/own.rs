//! Our backends and the limit of the memory as runners of `benches/peers/PROTOCOL.md`.
//!
//! `own rayon`, `own limit-ordinary` and their like read commands on standard input and answer on
//! standard output. Started by the program `beside`.
#![expect(clippy::print_stderr, reason = "a program talks to its user")]

use std::env;
use std::process::ExitCode;

use bn_bench::{protocol, subject};

fn main() -> ExitCode {
    // Cargo adds `--bench` when it starts the program itself.
    let Some(name) = env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        eprintln!(
            "own: answers the commands of PROTOCOL.md for the contender named as its argument"
        );
        return ExitCode::SUCCESS;
    };
    match protocol::serve(&mut *subject::named(&name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
