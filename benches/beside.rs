//! Our backends, the limit of the memory and other systems side by side.
//!
//! Prints one JSON object per line: each contender, then each case. Cases are those of a `Selection`; who
//! takes part is in the plan, a file that `BN_BENCH_PLAN` names. Started by `cargo xtask bench --peers`.
//! Ctrl-C ends it after the turn that is going on; what was measured before has been printed by then.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::env;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bn_bench::Selection;
use bn_bench::beside::{self, Plan};

fn main() -> ExitCode {
    let Some(path) = env::var_os("BN_BENCH_PLAN") else {
        eprintln!("beside: needs a plan; run it as `cargo xtask bench --peers`");
        return ExitCode::SUCCESS;
    };
    let selection = match Selection::from_env() {
        Ok(selection) => selection,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match compare(Path::new(&path), &selection) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(plan: &Path, selection: &Selection) -> anyhow::Result<()> {
    let plan = Plan::read(plan)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    ctrlc::set_handler(move || {
        // The second time it is meant.
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
    })?;
    let stop = || stopped.load(Ordering::SeqCst);
    beside::run(&plan, selection, &stop, &mut |line| {
        println!("{}", serde_json::to_string(line).expect("a line is plain data"));
    })
}
