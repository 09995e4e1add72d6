//! Replays recorded runs of real Caffe on every available backend, in both numerics.
//!
//! ```text
//! replay oracle DIR     a directory with manifest.json and errors.json
//! replay models DIR     a directory with traces of real nets and their weights
//! ```
//!
//! Prints a line for each case with the largest error of each of its outputs, then a summary. Exit
//! status: 0 where every output is within its bound, 1 where one is not, 2 where the directory or the
//! arguments are wrong. `cargo xtask caffe-oracle` and `cargo xtask caffe-models` start it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod engine;
mod models;
mod oracle;
mod report;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let replayed = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["oracle", directory] => oracle::replay(Path::new(directory)),
        ["models", directory] => models::replay(Path::new(directory)),
        _ => {
            eprintln!("error: expected `oracle DIR` or `models DIR`");
            return ExitCode::from(2);
        }
    };
    match replayed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
