//! The facade under each set of features that proves them additive.

use std::collections::BTreeMap;

use cargo_metadata::Package;

use crate::cargo::Cargo;

/// The package whose features choose the backends.
pub(super) const FACADE: &str = "bn";

/// Checks with no feature, with each alone, and with all, whatever the manifest names.
///
/// Clippy rather than `cargo check`: it compiles the same, and what is unused without a feature is
/// an error and no passing warning.
pub(super) fn calls(facade: &Package) -> Vec<Cargo> {
    let clippy = |features: &[&str]| {
        let package = ["--package", FACADE, "--all-targets"].into_iter();
        let deny = ["--", "-D", "warnings"].into_iter();
        Cargo::new("clippy", package.chain(features.iter().copied()).chain(deny))
    };
    let mut calls = vec![clippy(&["--no-default-features"])];
    for feature in selectable(&facade.features) {
        calls.push(clippy(&["--no-default-features", "--features", feature]));
    }
    calls.push(clippy(&["--all-features"]));
    calls
}

fn selectable(features: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = &str> {
    features.keys().map(String::as_str).filter(|&feature| feature != "default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_but_default_is_tried_alone() {
        let features = ["default", "rayon", "naive"].map(|name| (name.to_owned(), Vec::new()));
        let features = BTreeMap::from(features);
        assert_eq!(selectable(&features).collect::<Vec<_>>(), ["naive", "rayon"]);
    }
}
