//! Errors in how a backend refuses, and in what it does when it should not compute.

use bn_core::{
    BatchNormBackend as _, Capabilities, Element, Error, Feature, ForwardTraining, HostMemory,
    InOut, Moments, Request as _,
};
use bn_naive::NaiveBackend;

use crate::backend::{Nothing, Wrong};
use crate::{caught, report};

const REASON: &str = "planted";

/// Writes before it looks at what it lacks.
struct WritesBeforeItRefuses;

impl Wrong for WritesBeforeItRefuses {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL.without(Feature::Groups, REASON)
    }

    fn training<T: Element>(&self, request: &mut ForwardTraining<'_, T, HostMemory>) {
        if let InOut::Separate { output, .. } = &mut request.io {
            output[0] = T::from_f64(-3.0);
        }
    }
}

#[test]
fn writes_before_it_refuses() {
    caught(WritesBeforeItRefuses, &["refusal/f32/groups"]);
}

/// Lacks something and says so, but computes it all the same, wrongly or not.
struct LacksAndComputes;

impl Wrong for LacksAndComputes {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL.without(Feature::Mask, REASON)
    }

    fn training<T: Element>(&self, request: &mut ForwardTraining<'_, T, HostMemory>) {
        request.valid = None;
    }
}

#[test]
fn lacks_and_computes() {
    caught(LacksAndComputes, &["refusal/f32/"]);
}

/// Says that it can and then cannot.
struct ClaimsTooMuch;

impl Wrong for ClaimsTooMuch {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        if request.problem.groups() > 1 {
            let (backend, feature, reason) = ("planted", Feature::Groups, REASON);
            return Err(Error::Unsupported { backend, feature, reason });
        }
        NaiveBackend.moments(request.check()?)
    }
}

#[test]
fn claims_too_much() {
    caught(ClaimsTooMuch, &["groups"]);
}

/// Panics where channels are many.
struct Panics;

impl Wrong for Panics {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        assert!(request.problem.channels() < 33, "planted");
        NaiveBackend.moments(request.check()?)
    }
}

#[test]
fn a_panic_is_a_failure() {
    caught(Panics, &["odd-channels"]);
    assert!(report(Panics).failed().any(|(_, wrong)| wrong.contains("panicked: planted")));
}

/// What is honest about its limits passes: trials of what it lacks are ignored, with its reason.
struct Modest;

impl Wrong for Modest {
    fn capabilities(&self) -> Capabilities {
        Feature::ALL
            .into_iter()
            .filter(|feature| !matches!(feature, Feature::ChannelsFirst | Feature::InPlace))
            .fold(Capabilities::ALL, |all, feature| all.without(feature, REASON))
    }
}

#[test]
fn the_right_backend_passes() {
    let report = report(Nothing);
    assert!(report.failed().next().is_none(), "{report}");
    assert!(report.ignored().next().is_none(), "{report}");
    assert!(report.passed().count() > 300, "{report}");
}

#[test]
fn the_modest_backend_passes() {
    let report = report(Modest);
    assert!(report.failed().next().is_none(), "{report}");
    assert!(report.passed().count() > 100, "{report}");
    assert!(report.ignored().all(|(_, why)| why.contains(REASON)), "{report}");
}
