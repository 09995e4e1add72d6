//! The program `bn`: batch normalisation of tensors in files, forward and backward, on every backend.
//!
//! `bn backends` lists the backends, `bn run` normalises and writes the results, `bn compare` holds
//! every backend against f64 arithmetic, `bn caffe` reads, runs, folds and converts Caffe's files.
//! `bn help` says more.
#![forbid(unsafe_code)]

mod args;
mod command;
mod failure;
mod interrupt;
mod layer;
mod out_dir;
mod out_files;
mod progress;
mod report;
mod tensor;

use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    interrupt::prepare();
    match execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute() -> Result<(), Failure> {
    match args::parse()?.command {
        Command::Backends(args) => command::backends(&args),
        Command::Run(args) => command::run(&args),
        Command::Compare(args) => command::compare(&args),
        Command::Caffe(args) => command::caffe(&args),
    }
}
