//! The results of a run as files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bn_caffe::run::Tensor;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::Summary;
use crate::tensor::{Format, Stored};

/// Longest name of a file that every file system takes.
const MAX_NAME: usize = 255;

/// One result: what it is, and where it goes.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The blob's name, or that of the layer and the index of its blob.
    pub(super) name: String,
    /// `blob`, `diff` or `param diff`.
    pub(super) kind: &'static str,
    pub(super) file: String,
    pub(super) shape: Vec<usize>,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

/// Files of a folder, no two of one name.
pub(super) struct Results<'a> {
    dir: &'a Path,
    names: HashSet<String>,
    pub(super) rows: Vec<Row>,
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

impl<'a> Results<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir, names: HashSet::new(), rows: Vec::new(), files: Vec::new() }
    }

    /// Adds a tensor, in a file named after it.
    pub(super) fn tensor<T: Stored>(
        &mut self,
        kind: &'static str,
        name: &str,
        end: &str,
        tensor: &Tensor<T>,
    ) -> Result<(), Failure> {
        let place = self.place(name, &format!("{end}.npy"))?;
        let view = T::view(tensor.values());
        let header = Format::Npy.header(name, view.dtype(), tensor.shape());
        let mut bytes = header.ok_or_else(|| {
            let message = format!("{}: .npy cannot hold {}", place.display(), view.dtype());
            Failure::Failed(message)
        })?;
        bytes.extend_from_slice(&view.little_endian_bytes());
        self.rows.push(Row {
            name: name.to_owned(),
            kind,
            file: place.display().to_string(),
            shape: tensor.shape().to_vec(),
            summary: Summary::of(view),
        });
        self.files.push((place, bytes));
        Ok(())
    }

    /// Adds a file that is there as bytes.
    pub(super) fn bytes(
        &mut self,
        name: &str,
        end: &str,
        bytes: Vec<u8>,
    ) -> Result<PathBuf, Failure> {
        let place = self.place(name, end)?;
        self.files.push((place.clone(), bytes));
        Ok(place)
    }

    fn place(&mut self, name: &str, end: &str) -> Result<PathBuf, Failure> {
        let safe = |c: char| if c.is_alphanumeric() || "._-+".contains(c) { c } else { '_' };
        let file: String = name.chars().map(safe).chain(end.chars()).collect();
        let wrong = |what: &str| Err(Failure::BadInput(format!("blob or layer {name:?}: {what}")));
        if file.len() > MAX_NAME {
            return wrong("its name is too long for a file");
        }
        if !self.names.insert(file.clone()) {
            return wrong(&format!("another has the file {file} already; expected other names"));
        }
        Ok(self.dir.join(file))
    }
}
