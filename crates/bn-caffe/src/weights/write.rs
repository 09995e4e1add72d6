//! Writes a `.caffemodel`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use prost::bytes::Bytes;

use super::{Caffemodel, Part};
use crate::error::{Error, Result};

impl Caffemodel {
    /// The parts as they stand in the file, one after the other.
    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().map(|part| match part {
            Part::Other(bytes) => bytes,
            Part::Layer(layer) => layer.field(),
        })
    }

    /// Writes the file: unchanged parts byte for byte, changed layers in their place.
    ///
    /// # Errors
    /// What the writer returns.
    pub fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.pieces().try_for_each(|piece| out.write_all(piece))
    }

    /// Writes the file to a path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = || {
            let mut out = BufWriter::new(File::create(path)?);
            self.write_to(&mut out)?;
            out.flush()
        };
        write().map_err(|source| Error::Io { path: path.into(), source })
    }

    /// Bytes the file takes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Writes the file to memory.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.pieces().for_each(|piece| out.extend_from_slice(piece));
        out
    }
}
