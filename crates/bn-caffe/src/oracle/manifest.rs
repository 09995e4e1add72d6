//! The oracle's listing of runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// `manifest.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub cases: Vec<CaseEntry>,
    #[serde(default)]
    pub special: Vec<SpecialEntry>,
}

/// A run of one layer or of BatchNorm and Scale.
#[derive(Debug, Deserialize)]
pub(super) struct CaseEntry {
    pub name: String,
    pub dtype: DType,
    #[serde(default)]
    pub note: String,
    #[serde(default)]
    pub in_place: bool,
    pub layers: Vec<LayerEntry>,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub caffe_vs_float64_reference: BTreeMap<String, Distance>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) enum DType {
    #[default]
    #[serde(rename = "float")]
    Float,
    #[serde(rename = "double")]
    Double,
}

/// The prototxt of a layer in both phases.
#[derive(Debug, Deserialize)]
pub(super) struct LayerEntry {
    pub train: String,
    pub test: String,
}

/// One forward and backward: its phase, and its files by what they hold.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub phase: String,
    #[serde(flatten)]
    pub files: BTreeMap<String, String>,
}

/// How far real Caffe lies from the `f64` reference.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Distance {
    pub max_abs: f64,
}

/// A run with a procedure of its own.
#[derive(Debug, Deserialize)]
pub(super) struct SpecialEntry {
    pub name: String,
    /// Absent in some entries, whose names end in it.
    pub dtype: Option<DType>,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub scale_param: Option<String>,
    #[serde(default)]
    pub in_place: bool,
}

impl SpecialEntry {
    pub(super) fn dtype(&self) -> DType {
        let by_name = if self.name.ends_with("_f64") { DType::Double } else { DType::Float };
        self.dtype.unwrap_or(by_name)
    }
}

impl Manifest {
    pub(super) fn read(directory: &Path) -> Result<Self> {
        json(directory.join("manifest.json"))
    }
}

/// Reads a JSON file.
pub(super) fn json<T: for<'de> Deserialize<'de>>(path: PathBuf) -> Result<T> {
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(Error::Io { path, source }),
    };
    serde_json::from_slice(&bytes)
        .map_err(|source| Error::Oracle { place: path, problem: source.to_string() })
}
