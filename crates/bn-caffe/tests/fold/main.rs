//! Folding, against a reference that computes whole nets in `f64`.
//!
//! The published nets lie in `shared/caffe` beside the repository and do not ship with it; where they
//! are absent, and where Python has no OpenCV, tests are reported as ignored, with the reason.

mod files;
mod models;
mod opencv;
mod reference;
mod small_nets;
mod windows;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What a test returns.
type Outcome = Result<(), Failed>;

/// Declares a test that needs a folder below `shared/caffe`.
fn trial(
    name: impl Into<String>,
    folder: &'static str,
    test: impl FnOnce(&Path) -> Result<Completion, Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let path = shared().join(folder);
        if !path.exists() {
            let reason = format!("{} is not there", path.display());
            return Ok(Completion::ignored_with(reason));
        }
        test(&path)
    })
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/caffe")
}

/// Fails unless a condition holds.
fn ensure(condition: bool, message: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(message().into()) }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut tests = small_nets::trials();
    tests.extend(files::trials());
    tests.extend(models::trials());
    tests.extend(opencv::trials());
    libtest_mimic::run(&arguments, tests).exit();
}
