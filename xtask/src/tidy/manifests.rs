//! Rules of manifests: every member inherits the lint table of the workspace.

use anyhow::{Context, Result};
use cargo_metadata::camino::Utf8Path;
use toml::{Table, Value};

use super::Violation;

pub(super) fn check(path: &Utf8Path, text: &str) -> Result<Vec<Violation>> {
    let manifest: Table = text.parse().with_context(|| format!("{path} is no TOML"))?;
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    Ok(match inherits {
        Some(Value::Boolean(true)) => Vec::new(),
        _ => vec![Violation::of_file(path, "inherits no lints: [lints] workspace = true")],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_inherited_or_the_rule_is_broken() {
        let broken = |text| check(Utf8Path::new("Cargo.toml"), text).unwrap().len();
        assert_eq!(broken("[lints]\nworkspace = true\n"), 0);
        assert_eq!(broken("[package]\nname = \"a\"\n"), 1);
        assert_eq!(broken("[lints.rust]\nmissing_docs = \"warn\"\n"), 1);
    }
}
