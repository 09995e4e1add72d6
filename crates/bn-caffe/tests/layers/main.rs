//! The layers against real Caffe: recorded runs, and the layers of published nets.
//!
//! The recordings lie in `shared/caffe` beside the repository and do not ship with it. Where they are
//! absent, each test is reported as ignored, with the reason.

mod runs;
mod traces;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The backends that every run is replayed on.
const BACKENDS: [&str; 2] = ["naive", "rayon"];

/// What a test returns.
type Outcome = Result<(), Failed>;

/// Declares a test that needs a folder below `shared/caffe`.
fn trial(
    name: impl Into<String>,
    folder: &'static str,
    test: impl FnOnce(&Path) -> Outcome + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let path = shared().join(folder);
        if !path.exists() {
            let reason = format!("{} is not there", path.display());
            return Ok(Completion::ignored_with(reason));
        }
        test(&path).map(|()| Completion::Completed)
    })
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/caffe")
}

/// Fails with one line for each problem.
fn none_of(problems: Vec<String>) -> Outcome {
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut tests = runs::trials();
    tests.extend(traces::trials());
    libtest_mimic::run(&arguments, tests).exit();
}
