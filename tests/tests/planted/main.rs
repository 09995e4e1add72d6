//! The suite itself is tried: a backend that is wrong in one way has to fail it, in the trials made for
//! that, and the same backend without the error has to pass.
#![forbid(unsafe_code)]

mod backend;
mod backward;
mod forward;
mod outcomes;
mod refusals;
mod sums;

use bn_conformance::{Report, Suite};

use backend::{Planted, Wrong};

/// The outcomes of a planted error in `f32`, in which the suite has all of its layers but one.
fn report<W: Wrong>(wrong: W) -> Report {
    Suite::of(Planted(wrong)).element::<f32>().report("")
}

/// Asserts that an error is caught by trials whose names contain each of `trials`, and that the rest of
/// the backend still passes what it should.
#[track_caller]
fn caught<W: Wrong>(wrong: W, trials: &[&str]) {
    let report = report(wrong);
    for part in trials {
        assert!(
            report.failed().any(|(name, _)| name.contains(part)),
            "no trial with {part:?} in its name caught the error; {report}",
        );
    }
    assert!(report.passed().next().is_some(), "every trial failed, which tells nothing: {report}");
}
