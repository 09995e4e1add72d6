//! The house rules that neither rustc nor clippy checks.

mod dependencies;
mod machine_paths;
mod manifests;
mod source;

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

use crate::workspace::Workspace;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    path: Utf8PathBuf,
    line: Option<usize>,
    rule: String,
}

impl Violation {
    fn of_file(path: &Utf8Path, rule: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, rule: rule.into() }
    }

    fn of_line(path: &Utf8Path, line: usize, rule: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of_file(path, rule) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.rule),
            None => write!(f, "{}: {}", self.path, self.rule),
        }
    }
}

/// Checks every rule and prints each place where one is broken.
pub(crate) fn holds(workspace: &Workspace) -> Result<bool> {
    let files = workspace.tracked_files()?;
    let machine = machine_paths::of_this_machine(workspace.root());
    let mut violations = Vec::new();
    for path in &files {
        let bytes = fs::read(workspace.root().join(path))
            .with_context(|| format!("{path} could not be read"))?;
        // Data in binary form has neither lines nor words.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        violations.extend(source::check(path, &text));
        violations.extend(machine_paths::check(path, &text, &machine));
    }
    for package in workspace.members() {
        let manifest = workspace.relative(&package.manifest_path);
        let text = fs::read_to_string(&package.manifest_path)
            .with_context(|| format!("{manifest} could not be read"))?;
        violations.extend(manifests::check(manifest, &text)?);
        violations.extend(dependencies::check(manifest, package, &workspace.members()));
        violations.extend(source::check_roots(workspace, package)?);
    }
    for violation in &violations {
        println!("{violation}");
    }
    println!("{} files, {} broken rules", files.len(), violations.len());
    Ok(violations.is_empty())
}
