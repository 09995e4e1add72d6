//! A backend whose buffers are no slices, as a device's are: the suite on its own memory and on the
//! host's, and what happens when that memory runs out.
#![forbid(unsafe_code)]

mod backend;
mod exhausted;
mod memory;

use backend::Elsewhere;
use bn_conformance::Suite;
use bn_core::Staged;

#[test]
fn the_suite_passes_in_memory_of_its_own() {
    let report =
        Suite::on_device("elsewhere", || Ok(Elsewhere::default())).every_element().report("");
    assert!(report.failed().next().is_none(), "{report}");
    // Only what needs slices at odd addresses cannot be tried there.
    assert!(report.ignored().all(|(name, _)| name.contains("unaligned")), "{report}");
    assert!(report.passed().count() > 2000, "{report}");
}

#[test]
fn the_suite_passes_on_the_host_by_way_of_copies() {
    let staged = || Ok(Staged::new(Elsewhere::default()));
    let report = Suite::probe("elsewhere", staged).every_element().report("");
    assert!(report.failed().next().is_none(), "{report}");
    assert!(report.ignored().next().is_none(), "{report}");
}
