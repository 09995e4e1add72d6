//! Writing layers to a safetensors file, whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use bn_core::Element;
use ndarray::Array1;
use safetensors::{Dtype, View};

use super::{BATCHES, BIAS, RUNNING_MEAN, RUNNING_VAR, WEIGHT, values};
use crate::{BatchNorm, Error, RunningStatistics};

/// Collects layers and writes them to one file; see [`checkpoint`](super).
#[derive(Clone, Debug, Default)]
pub struct Writer {
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Clone, Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer without any layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer as it is now; each of its tensors is named `prefix` and its own name.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] where a layer of this prefix was added before, and [`Error::Statistic`] where the
    /// running statistics hold what no reader takes, because a batch held a NaN. The writer is then
    /// what it was.
    pub fn add<T: Element, B: ?Sized>(
        &mut self,
        prefix: &str,
        layer: &BatchNorm<T, B>,
    ) -> Result<(), Error> {
        layer.running().map_or(Ok(()), RunningStatistics::check)?;
        let tensors = tensors(layer);
        for (own, _) in &tensors {
            let name = format!("{prefix}{own}");
            if self.tensors.contains_key(&name) {
                let expected = "a prefix of its own for each layer".into();
                return Err(Error::Tensor { name, found: "added twice".into(), expected });
            }
        }
        let named = tensors.into_iter().map(|(own, tensor)| (format!("{prefix}{own}"), tensor));
        self.tensors.extend(named);
        Ok(())
    }

    /// The file as bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotSafetensors`] where the names are more than a header of the format holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        // "pt" is what readers of PyTorch's side look for.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(&self.tensors, Some(metadata))
            .map_err(|error| Error::NotSafetensors { reason: error.to_string() })
    }

    /// Writes the file whole or not at all: to a temporary file in the same folder, which then takes
    /// its place.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and that of [`Writer::to_bytes`]. A file that was there before is then untouched.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (path, bytes) = (path.as_ref(), self.to_bytes()?);
        let write = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let mut file = temporary(folder.unwrap_or(Path::new(".")))?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map(drop).map_err(|error| error.error)
        };
        write().map_err(|source| Error::Io { action: "write", path: path.into(), source })
    }
}

/// A temporary file with the permissions of an ordinary new one, less the process's umask: the
/// library's own default shuts out everyone but the user, and the file stays when it is renamed.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bn-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The tensors that a layer has, by their own names.
fn tensors<T: Element, B: ?Sized>(layer: &BatchNorm<T, B>) -> Vec<(&'static str, Tensor)> {
    let mut tensors = Vec::new();
    let mut add = |name, values: Array1<T::Param>| {
        let (dtype, shape) = (values::stored_as::<T::Param>(), vec![values.len()]);
        tensors.push((name, Tensor { dtype, shape, bytes: values::to_bytes(&values) }));
    };
    if let Some(gamma) = layer.gamma() {
        add(WEIGHT, gamma.to_owned());
    }
    if let Some(beta) = layer.beta() {
        add(BIAS, beta.to_owned());
    }
    if let Some(running) = layer.running() {
        let (mean, var) = running.averages(&layer.momentum());
        add(RUNNING_MEAN, mean);
        add(RUNNING_VAR, var);
        let batches = i64::try_from(running.seen().batches).unwrap_or(i64::MAX);
        let bytes = batches.to_le_bytes().to_vec();
        tensors.push((BATCHES, Tensor { dtype: Dtype::I64, shape: Vec::new(), bytes }));
    }
    tensors
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
