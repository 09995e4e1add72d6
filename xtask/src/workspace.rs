//! The workspace as `cargo metadata` describes it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// This workspace: its packages and where things lie.
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo. Nothing is resolved or fetched for it.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
        Ok(Self { metadata })
    }

    /// The folder of the root manifest.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.metadata.workspace_root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> &Utf8Path {
        &self.metadata.target_directory
    }

    /// The members, by name.
    pub(crate) fn members(&self) -> Vec<&Package> {
        let mut members = self.metadata.workspace_packages();
        members.sort_by_key(|package| package.name.as_str());
        members
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Result<&Package> {
        let found = self.members().into_iter().find(|package| package.name.as_str() == name);
        found.with_context(|| format!("the workspace has no package `{name}`"))
    }

    /// A path as people read it: from the root.
    pub(crate) fn relative<'a>(&self, path: &'a Utf8Path) -> &'a Utf8Path {
        path.strip_prefix(self.root()).unwrap_or(path)
    }

    /// The files that git tracks and that are there, from the root.
    pub(crate) fn tracked_files(&self) -> Result<Vec<Utf8PathBuf>> {
        let output = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(self.root())
            .output()
            .context("git, which lists the files to check, could not be started")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git ls-files failed: {}", complaint.trim());
        let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let files = names.split_terminator('\0').map(Utf8PathBuf::from);
        Ok(files.filter(|file| self.root().join(file).is_file()).collect())
    }
}
