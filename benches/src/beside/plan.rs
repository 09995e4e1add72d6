//! Who takes part and how they are started: what `cargo xtask bench --peers` hands over.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A comparison to make over the cases of a selection.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    /// In this order.
    pub contenders: Vec<Contender>,
    /// How many rounds a case has.
    pub rounds: usize,
    /// Where inputs, outputs and what runners print may be written.
    pub scratch: PathBuf,
}

/// A runner.
#[derive(Clone, Debug, Deserialize)]
pub struct Contender {
    /// What it is called in results: `candle-nn`.
    pub key: String,
    /// What it stands for.
    pub role: Role,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables besides those that say how many threads there are.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// What a contender stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A backend of this workspace.
    Ours,
    /// A kind of store of the memory's limit.
    Limit,
    /// Another system at the same work.
    Peer,
    /// Another system at work that is not the same: a mark to look at.
    Mark,
}

impl Plan {
    /// Reads a plan from a JSON file.
    ///
    /// # Errors
    ///
    /// Where there is no such file or it holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_reader(file).with_context(|| format!("{} is no plan", path.display()))
    }
}
