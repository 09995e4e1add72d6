//! Rules of source files: length, nothing left undone, a reason for what is silenced, no unsafe code.

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Package, TargetKind};

use super::Violation;
use crate::workspace::Workspace;

/// Longer files have more than one purpose.
const MAX_LINES: usize = 600;

/// Words of work left undone, cut in two so that this file does not break its own rule.
const UNFINISHED: [&str; 5] = [
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// The packages that have unsafe code, and what for. All others forbid it in every library and program.
const UNSAFE_PACKAGES: [(&str, &str); 4] = [
    ("bn-bench", "stores that bypass the cache, in the copy that is the limit"),
    ("bn-candle", "advice to the system about the memory of large outputs"),
    ("bn-cuda", "calls of the driver"),
    ("bn-rayon", "SIMD kernels and outputs shared between threads"),
];

/// The rules of one file, whichever package it belongs to.
pub(super) fn check(path: &Utf8Path, text: &str) -> Vec<Violation> {
    if !matches!(path.extension(), Some("rs" | "cu" | "cuh")) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        let rule = format!("{lines} lines; a file with one purpose has at most {MAX_LINES}");
        violations.push(Violation::of_file(path, rule));
    }
    for (index, line) in text.lines().enumerate() {
        for word in UNFINISHED.into_iter().filter(|word| line.contains(word)) {
            violations.push(Violation::of_line(path, index + 1, format!("`{word}` is unfinished")));
        }
    }
    for (line, attribute) in attributes_without_reason(text) {
        let rule = format!("`{attribute}` says no reason");
        violations.push(Violation::of_line(path, line, rule));
    }
    violations
}

/// Whether each library and program of a package forbids unsafe code, unless it is known to have some.
pub(super) fn check_roots(workspace: &Workspace, package: &Package) -> Result<Vec<Violation>> {
    if UNSAFE_PACKAGES.iter().any(|(name, _)| package.name.as_str() == *name) {
        return Ok(Vec::new());
    }
    let mut violations = Vec::new();
    let kinds = [TargetKind::Lib, TargetKind::Bin];
    for target in
        package.targets.iter().filter(|target| kinds.iter().any(|kind| target.kind.contains(kind)))
    {
        let path = workspace.relative(&target.src_path);
        let text = fs::read_to_string(&target.src_path)
            .with_context(|| format!("{path} could not be read"))?;
        if !forbids_unsafe(&text) {
            let rule = format!("{} needs no unsafe code: #![forbid(unsafe_code)]", package.name);
            violations.push(Violation::of_file(path, rule));
        }
    }
    Ok(violations)
}

fn forbids_unsafe(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "#![forbid(unsafe_code)]")
}

/// `#[ignore]`, `#[allow(…)]` and `#[expect(…)]` without a reason, with their lines.
///
/// Reads lines, as rustfmt sets them: clippy sees attributes more exactly, but not `#[ignore]`, and
/// not code that is configured out.
fn attributes_without_reason(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let start = offset + (line.len() - line.trim_start().len());
        offset += line.len();
        let attribute =
            text[start..].strip_prefix("#![").or_else(|| text[start..].strip_prefix("#["));
        let Some(attribute) = attribute else { continue };
        if attribute.starts_with("ignore]") {
            found.push((index + 1, "ignore"));
        }
        for (name, opening) in [("allow", "allow("), ("expect", "expect(")] {
            let arguments = attribute.strip_prefix(opening);
            let arguments = arguments.and_then(|arguments| arguments.split(")]").next());
            if arguments.is_some_and(|arguments| !arguments.contains("reason = ")) {
                found.push((index + 1, name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        let violations = check(Utf8Path::new("src/lib.rs"), text);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_code_breaks_no_rule() {
        let text = "#[allow(dead_code, reason = \"read by a macro\")]\nfn main() {}\n\
                    #[expect(\n    clippy::pedantic,\n    reason = \"told\"\n)]\nconst A: u8 = 0;\n\
                    #[ignore = \"needs a device\"]\nfn test() {}\n";
        assert_eq!(rules(text), [""; 0]);
    }

    #[test]
    fn each_rule_finds_its_line() {
        for word in UNFINISHED {
            assert_eq!(rules(&format!("fn main() {{}}\n    // {word}\n")).len(), 1, "{word}");
        }
        assert_eq!(rules("\n    #[ignore]\n"), ["src/lib.rs:2: `ignore` says no reason"]);
        assert_eq!(rules("#![allow(dead_code)]\n"), ["src/lib.rs:1: `allow` says no reason"]);
        assert_eq!(
            rules("#[expect(\n    a,\n    b\n)]\n"),
            ["src/lib.rs:1: `expect` says no reason"]
        );
        assert_eq!(rules(&"\n".repeat(MAX_LINES)), [""; 0]);
        assert_eq!(rules(&"\n".repeat(MAX_LINES + 1)).len(), 1);
    }

    #[test]
    fn only_source_files_are_read() {
        assert_eq!(check(Utf8Path::new("notes.md"), UNFINISHED[2]), []);
    }

    #[test]
    fn unsafe_code_is_forbidden_by_an_attribute_and_not_by_words() {
        assert!(forbids_unsafe("//! A crate.\n#![forbid(unsafe_code)]\nmod a;\n"));
        assert!(!forbids_unsafe("//! `#![forbid(unsafe_code)]` would be good.\n"));
    }
}
