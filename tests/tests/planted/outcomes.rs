//! Backends that are not there, and variants.

use bn_conformance::{Outcome, Suite};
use bn_core::BatchNormBackend as _;
use bn_core::{Element, Error, HostMemory, Moments, Request as _};
use bn_naive::NaiveBackend;

use crate::backend::{Nothing, Planted, Wrong};

fn absent() -> Result<Planted<Nothing>, Error> {
    Err(Error::Unavailable { backend: "planted", reason: "it is in the repair shop".into() })
}

#[test]
fn what_is_absent_is_ignored_with_the_reason() {
    let report = Suite::probe("planted", absent).element::<f32>().report("");
    assert!(report.outcomes.len() > 300);
    for (name, outcome) in &report.outcomes {
        let Outcome::Ignored(why) = outcome else { panic!("{name}: {outcome:?}") };
        assert!(why.contains("repair shop"), "{name}: {why}");
    }
}

#[test]
fn what_is_required_and_absent_fails() {
    let suite = Suite::probe("planted", absent).require("cuda, planted").element::<f32>();
    let report = suite.report("exact/");
    assert_eq!(report.failed().count(), report.outcomes.len());
    assert!(report.failed().all(|(_, wrong)| wrong.contains("repair shop")), "{report}");

    let suite = Suite::probe("planted", absent).require("planted/other").element::<f32>();
    assert!(suite.report("exact/").failed().next().is_none());
}

/// An error of one unit in the last place is within every tolerance; only the bits show it.
enum Mean {
    Right,
    OneBitOff,
}

impl Wrong for Mean {
    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        let Moments { problem, x, valid, mean, m2 } = request;
        NaiveBackend.moments(Moments { problem, x, valid, mean: &mut *mean, m2 }.check()?)?;
        if matches!(self, Self::OneBitOff) {
            mean.iter_mut().for_each(|mean| *mean = mean.next_up());
        }
        Ok(())
    }
}

#[test]
fn a_variant_of_other_bits_fails() {
    let suite = Suite::of(Planted(Mean::Right))
        .variant("same", || Ok(Planted(Mean::Right)))
        .variant("one-bit-off", || Ok(Planted(Mean::OneBitOff)))
        .element::<f32>();
    let report = suite.report("variant/");
    assert!(report.failed().next().is_some());
    assert!(report.failed().all(|(name, _)| name.contains("/one-bit-off/")), "{report}");
    assert!(report.passed().any(|name| name.contains("/same/")), "{report}");
}
