//! Weights in HDF5, `.caffemodel.h5`.
//!
//! Caffe writes one group per layer under `/data`, and in it one data set per blob, named by its
//! index. Blobs that a layer shares stand under their owner alone. A layer name with `/` becomes
//! nested groups, which Caffe itself cannot load again; such groups are read here as layers of the
//! full name.

use prost::bytes::Bytes;

use super::Caffemodel;
use crate::error::Result;

const MAGIC: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Whether a file is HDF5.
#[must_use]
pub fn is_hdf5(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// Reads the weights into a model without types and settings.
#[cfg(feature = "hdf5")]
pub(super) fn read(file: Bytes) -> Result<Caffemodel> {
    reader::read(file)
}

#[cfg(not(feature = "hdf5"))]
pub(super) fn read(_: Bytes) -> Result<Caffemodel> {
    Err(crate::Error::WrongKind {
        found: "an HDF5 file (.caffemodel.h5), which needs bn-caffe's feature `hdf5`",
        expected: "a binary .caffemodel",
    })
}

#[cfg(feature = "hdf5")]
mod reader {
    use hdf5_pure::{DType, File, Group};
    use prost::bytes::Bytes;

    use crate::blob::{Blob, Shape};
    use crate::error::{Error, Result};
    use crate::limits::{MAX_BLOBS, MAX_DEPTH, MAX_LAYERS};
    use crate::weights::{Caffemodel, WeightLayer, parse::limit};

    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over as they come")]
    fn broken(place: &str, problem: impl ToString) -> Error {
        Error::Hdf5 { place: place.to_owned(), problem: problem.to_string() }
    }

    pub(super) fn read(file: Bytes) -> Result<Caffemodel> {
        let size = file.len();
        let file = File::from_bytes(Vec::from(file)).map_err(|e| broken("file", e))?;
        let data = file.group("data").map_err(|e| broken("/data", e))?;
        let mut model = Caffemodel::default();
        let mut budget = size;
        walk(&data, "", 0, &mut budget, &mut model)?;
        Ok(model)
    }

    /// Reads a group as a layer, and the groups inside it.
    fn walk(
        group: &Group,
        name: &str,
        depth: usize,
        budget: &mut usize,
        model: &mut Caffemodel,
    ) -> Result<()> {
        limit(|| format!("/data/{name}"), "levels of groups", depth, MAX_DEPTH as u64)?;
        let sets = group.datasets().map_err(|e| broken(name, e))?;
        limit(|| format!("/data/{name}"), "blobs", sets.len(), MAX_BLOBS as u64)?;
        if !name.is_empty() && !sets.is_empty() {
            let blobs: Result<Vec<Blob>> = (0..sets.len())
                .map(|index| blob(group, &format!("{name}/{index}"), index, budget))
                .collect();
            let layers = model.layers().count() + 1;
            limit(|| "/data".into(), "layers", layers, MAX_LAYERS as u64)?;
            model.push(WeightLayer::new(name, "", &blobs?));
        }
        for inner in group.groups().map_err(|e| broken(name, e))? {
            let full = if name.is_empty() { inner.clone() } else { format!("{name}/{inner}") };
            let inner = group.group(&inner).map_err(|e| broken(&full, e))?;
            walk(&inner, &full, depth + 1, budget, model)?;
        }
        Ok(())
    }

    fn blob(group: &Group, place: &str, index: usize, budget: &mut usize) -> Result<Blob> {
        let broken = |e: &dyn ToString| broken(place, e.to_string());
        let set = group.dataset(&index.to_string()).map_err(|e| broken(&e))?;
        let dims: Vec<usize> =
            set.shape().map_err(|e| broken(&e))?.iter().map(|&d| d as usize).collect();
        let shape = Shape::new(dims).map_err(|e| broken(&e))?;
        // Caffe stores blobs plainly, so all values together are no larger than the file. A
        // compressed data set of zeros could claim far more.
        let kind = set.dtype().map_err(|e| broken(&e))?;
        let size = if kind == DType::F64 { 8 } else { 4 };
        *budget = budget.checked_sub(shape.count().saturating_mul(size)).ok_or_else(|| {
            broken(&format!("{} values, expected no more than the file holds", shape.count()))
        })?;
        let blob = match kind {
            DType::F32 => Blob::from_f32(shape, &set.read_f32().map_err(|e| broken(&e))?),
            DType::F64 => Blob::from_f64(shape, &set.read_f64().map_err(|e| broken(&e))?),
            other => {
                return Err(broken(&format!("elements of {other:?}, expected float or double")));
            }
        };
        blob.map_err(|e| broken(&e))
    }
}
