//! The tasks of this workspace, run as `cargo xtask <task>`.
//!
//! Exit status: 0 where everything holds, 1 where a check or a run failed, 2 where the arguments were wrong.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod bench;
mod caffe;
mod cargo;
mod ci;
mod conformance;
mod table;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The tasks of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Ci(ci::Arguments),
    Conformance(conformance::Arguments),
    Bench(bench::Arguments),
    CaffeOracle(caffe::OracleArguments),
    CaffeModels(caffe::ModelsArguments),
}

/// How a task ended.
pub(crate) enum Outcome {
    /// Everything holds.
    Holds,
    /// Something that was checked or run failed; it has been said what.
    Failed,
    /// The arguments were wrong; it has been said how.
    Misused,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Workspace::load().and_then(|workspace| match arguments.task {
        Task::Ci(arguments) => ci::run(&workspace, &arguments),
        Task::Conformance(arguments) => conformance::run(&workspace, &arguments),
        Task::Bench(arguments) => bench::run(&workspace, &arguments),
        Task::CaffeOracle(arguments) => caffe::oracle(&workspace, &arguments),
        Task::CaffeModels(arguments) => caffe::models(&workspace, &arguments),
    });
    match outcome {
        Ok(Outcome::Holds) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Misused) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
