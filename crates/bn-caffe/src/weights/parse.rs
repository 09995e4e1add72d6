//! Reads a `.caffemodel`.

use std::path::Path;

use prost::Message as _;
use prost::bytes::Bytes;

use super::{Caffemodel, Form, Part, WeightLayer, hdf5};
use crate::error::{Error, Result};
use crate::limits::{MAX_LAYERS, MAX_SETTINGS_BYTES, MAX_WEIGHT_BYTES};
use crate::proto::schema::NetParameter;
use crate::proto::wire::{Fields, Payload};

impl Caffemodel {
    /// Reads a weight file; an HDF5 file with the feature `hdf5`.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Self::parse`] inside [`Error::InFile`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(crate::file::read(path, MAX_WEIGHT_BYTES)?).map_err(|e| e.in_file(path))
    }

    /// Reads a weight file from memory, without a copy.
    ///
    /// # Errors
    /// [`Error::Wire`] with the offset, [`Error::Decode`], [`Error::TooLarge`]; for HDF5
    /// [`Error::WrongKind`] or [`Error::Hdf5`]. Blobs are read later, so their errors come then.
    pub fn parse(file: impl Into<Bytes>) -> Result<Self> {
        let file = file.into();
        if hdf5::is_hdf5(&file) {
            return hdf5::read(file);
        }
        limit(|| "weights".into(), "bytes", file.len(), MAX_WEIGHT_BYTES)?;
        let mut parts = Vec::new();
        let (mut layers, mut settings, mut other_start) = (0, 0, 0);
        for field in Fields::new(&file, 0) {
            let field = field?;
            let form = match field.number {
                NetParameter::LAYER => Form::V2,
                NetParameter::V1_LAYER => Form::V1,
                number => {
                    if NetParameter::is_setting(number) {
                        settings += field.end - field.start;
                    }
                    continue;
                }
            };
            let Payload::Bytes(_) = field.payload else {
                return Err(Error::Wire {
                    offset: field.start,
                    problem: format!("{} in the field of a layer", field.payload.kind()),
                    expected: "a message",
                });
            };
            layers += 1;
            limit(|| "weights".into(), "layers", layers, MAX_LAYERS as u64)?;
            if other_start < field.start {
                parts.push(Part::Other(file.slice(other_start..field.start)));
            }
            other_start = field.end;
            let start = field.payload_start - field.start;
            let bytes = file.slice(field.start..field.end);
            parts.push(Part::Layer(WeightLayer::parse(form, bytes, start, field.start)?));
        }
        if other_start < file.len() {
            parts.push(Part::Other(file.slice(other_start..)));
        }
        limit(|| "weights".into(), "bytes of settings", settings, MAX_SETTINGS_BYTES as u64)?;
        // The schema has no layers, so this passes over them.
        let net = NetParameter::decode(file).map_err(|source| Error::Decode {
            place: "weights".into(),
            message: "NetParameter",
            source,
        })?;
        Ok(Self { parts, net })
    }
}

/// Refuses what exceeds a limit.
pub(super) fn limit(
    place: impl Fn() -> String,
    what: &'static str,
    found: usize,
    limit: u64,
) -> Result<()> {
    if found as u64 > limit {
        return Err(Error::TooLarge { place: place(), what, found: found as u64, limit });
    }
    Ok(())
}
