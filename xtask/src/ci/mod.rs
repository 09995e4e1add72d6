//! `cargo xtask ci`: everything that must hold before a change is merged.

mod candle;
mod features;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::cargo::Cargo;
use crate::table::{self, Column};
use crate::workspace::Workspace;
use crate::{Outcome, tidy};

/// Check format, house rules, lints, documentation and features, then run the tests.
///
/// Stops at the first step that fails. Cargo runs with --locked throughout: a Cargo.lock that does
/// not match the manifests is a failure as well.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the tests: only what needs no run.
    #[arg(long = "static")]
    is_static: bool,

    /// Run these steps only, in the usual order.
    #[arg(long, value_name = "STEP", value_delimiter = ',', conflicts_with = "is_static")]
    only: Vec<Step>,
}

/// A step, in the order in which they run: what fails fastest comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// rustfmt leaves every file as it is.
    Format,
    /// The house rules that no other tool checks.
    Tidy,
    /// Clippy and rustc warn of nothing, in any target, with every feature.
    Clippy,
    /// The facade compiles without warnings with no feature, each alone, and all.
    Features,
    /// rustdoc warns of nothing.
    Docs,
    /// Every test and every example in the documentation.
    Test,
}

enum Verdict {
    Passed(Duration),
    Failed(Duration),
    NotRun,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<Outcome> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| arguments.only.is_empty() || arguments.only.contains(step))
        .filter(|step| !(arguments.is_static && *step == Step::Test))
        .collect();
    let mut verdicts = Vec::new();
    let mut failed = false;
    for step in steps {
        if failed {
            verdicts.push((step, Verdict::NotRun));
            continue;
        }
        println!("\n━━ {}: {} ━━", step.name(), step.promise());
        let start = Instant::now();
        failed = !step.holds(workspace)?;
        let verdict = if failed { Verdict::Failed } else { Verdict::Passed };
        verdicts.push((step, verdict(start.elapsed())));
    }
    print_summary(&verdicts);
    Ok(if failed { Outcome::Failed } else { Outcome::Holds })
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().expect("no step is skipped").get_name().to_owned()
    }

    fn promise(self) -> String {
        let value = self.to_possible_value().expect("no step is skipped");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }

    fn holds(self, workspace: &Workspace) -> Result<bool> {
        if self == Self::Tidy {
            return tidy::holds(workspace);
        }
        for call in self.calls(workspace)? {
            println!("$ {call}");
            if !call.status(workspace)?.success() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The calls of cargo that a step consists of.
    fn calls(self, workspace: &Workspace) -> Result<Vec<Cargo>> {
        // All but one package with every feature: bn-candle's `cuda` wants an nvcc.
        let every_feature = ["--workspace", "--exclude", candle::PACKAGE, "--all-features"];
        let deny = ["--", "-D", "warnings"];
        Ok(match self {
            Self::Tidy => Vec::new(),
            Self::Format => vec![Cargo::new("fmt", ["--all", "--check"])],
            Self::Clippy => {
                let rest = every_feature.into_iter().chain(["--all-targets"]);
                let without = ["--package", candle::PACKAGE, "--all-targets"];
                vec![
                    Cargo::new("clippy", rest.chain(deny)),
                    Cargo::new("clippy", without.into_iter().chain(deny)),
                    candle::clippy(workspace),
                ]
            }
            Self::Features => features::calls(workspace.member(features::FACADE)?),
            // Libraries only: the program `bn` and the facade of the same name would write their
            // pages to one place, of which cargo warns.
            Self::Docs => vec![
                Cargo::new("doc", every_feature.into_iter().chain(["--no-deps", "--lib"]))
                    .env("RUSTDOCFLAGS", "-D warnings"),
                Cargo::new("doc", ["--package", candle::PACKAGE, "--no-deps", "--lib"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ],
            // The choice at run time once more, with the backends that are no default.
            Self::Test => vec![
                Cargo::new("test", ["--workspace"]),
                Cargo::new(
                    "test",
                    ["--package", features::FACADE, "--all-features", "--test", "registry"],
                ),
            ],
        })
    }
}

fn print_summary(verdicts: &[(Step, Verdict)]) {
    let mut table =
        table::new(&[Column::Text("step"), Column::Text("result"), Column::Number("seconds")]);
    for (step, verdict) in verdicts {
        let (word, duration) = match verdict {
            Verdict::Passed(duration) => ("passed", Some(duration)),
            Verdict::Failed(duration) => ("FAILED", Some(duration)),
            Verdict::NotRun => ("not run", None),
        };
        let seconds =
            duration.map_or_else(String::new, |time| format!("{:.1}", time.as_secs_f64()));
        table.add_row([step.name(), word.to_owned(), seconds]);
    }
    println!("\n{table}");
}
