//! The crate against files written by Caffe and by converters.
//!
//! They lie in `shared/caffe` beside the repository and do not ship with it. Where they are absent,
//! each test is reported as ignored, with the reason.

mod listings;
mod models;
mod setup;
mod trained_net;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

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

/// Fails unless a condition holds.
fn ensure(condition: bool, message: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(message().into()) }
}

fn json(path: impl AsRef<Path>) -> Result<serde_json::Value, Failed> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn main() {
    let arguments = Arguments::from_args();
    let tests = [models::trials(), trained_net::trials(), setup::trials()].concat_all();
    libtest_mimic::run(&arguments, tests).exit();
}

/// Joins lists of values that cannot be cloned.
trait ConcatAll<T> {
    fn concat_all(self) -> Vec<T>;
}

impl<T, const N: usize> ConcatAll<T> for [Vec<T>; N] {
    fn concat_all(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}
