//! candle's own layer beside bn-candle's: a program of that crate, because it compares what only
//! candle's users have.

use anyhow::Result;

use super::Arguments;
use crate::Outcome;
use crate::cargo::Cargo;
use crate::workspace::Workspace;

/// Few enough for a first look: the layer that the others are compared by.
const QUICK: [&str; 4] = ["--shapes", "resnet50/8x64x112x112,resnet50/8x512x7x7", "--rounds", "3"];

/// Runs the comparison, once for each number of threads. It prints its own tables.
pub(super) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let without_effect = [
        ("--backend", arguments.backend.is_some()),
        ("--operation", arguments.operation.is_some()),
        ("--layout", arguments.layout.is_some()),
        ("--dtype", arguments.dtype.is_some()),
        ("--filter", arguments.filter.is_some()),
        ("--json", arguments.json.is_some()),
    ];
    if let Some((name, _)) = without_effect.into_iter().find(|(_, given)| *given) {
        eprintln!(
            "error: {name} has no meaning with --only layer, which takes --shape and --threads"
        );
        return Ok(Outcome::Misused);
    }
    for threads in arguments.threads.as_deref().unwrap_or("1,all").split(',') {
        let call = Cargo::new("run", program(arguments, threads.trim()));
        if !call.status(workspace)?.success() {
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Holds)
}

/// The arguments of cargo and, behind `--`, those of the program.
fn program<'a>(arguments: &'a Arguments, threads: &'a str) -> Vec<&'a str> {
    let mut all =
        vec!["--quiet", "--release", "--package", "bn-candle", "--example", "layer_bench", "--"];
    if arguments.quick {
        all.extend(QUICK);
    }
    // Said last, it counts.
    if let Some(shape) = &arguments.shape {
        all.extend(["--shapes", shape]);
    }
    if threads != "all" {
        all.extend(["--threads", threads]);
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn arguments(line: &str) -> Arguments {
        let command = Arguments::augment_args(clap::Command::new("bench"));
        let matches = command.get_matches_from(line.split(' '));
        Arguments::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_selection_is_handed_on() {
        let arguments = arguments("bench --only layer --shape /8x");
        assert_eq!(program(&arguments, "2")[6..], ["--", "--shapes", "/8x", "--threads", "2"]);
        assert_eq!(program(&arguments, "all")[6..], ["--", "--shapes", "/8x"]);
    }

    #[test]
    fn a_shape_of_ones_own_comes_behind_the_quick_ones() {
        let arguments = arguments("bench --only layer --quick --shape tiny");
        let all = program(&arguments, "all");
        assert_eq!(all[all.len() - 2..], ["--shapes", "tiny"]);
        assert!(all.contains(&QUICK[1]));
    }
}
