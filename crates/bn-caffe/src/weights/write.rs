//! Writes a `.caffemodel`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{Caffemodel, Part};
use crate::error::{Error, Result};
use crate::proto::raw::{delimited_head, delimited_head_len};

impl Caffemodel {
    /// Writes the file: unchanged parts byte for byte, changed layers in their place.
    ///
    /// # Errors
    /// What the writer returns.
    pub fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Other(bytes) => out.write_all(bytes)?,
                Part::Layer(layer) => match layer.original() {
                    Some(bytes) => out.write_all(bytes)?,
                    None => {
                        let body = layer.body();
                        out.write_all(&delimited_head(layer.form().net_field(), body.len()))?;
                        out.write_all(body)?;
                    }
                },
            }
        }
        Ok(())
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
        write().map_err(|source| Error::Io {
            path: path.into(),
            source,
        })
    }

    /// Bytes the file takes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let part = |part: &Part| match part {
            Part::Other(bytes) => bytes.len(),
            Part::Layer(layer) => layer.original().map_or_else(
                || {
                    let body = layer.body().len();
                    delimited_head_len(layer.form().net_field(), body) + body
                },
                |bytes| bytes.len(),
            ),
        };
        self.parts.iter().map(part).sum()
    }

    /// Writes the file to memory.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        for part in &self.parts {
            match part {
                Part::Other(bytes) => out.extend_from_slice(bytes),
                Part::Layer(layer) => match layer.original() {
                    Some(bytes) => out.extend_from_slice(bytes),
                    None => {
                        let body = layer.body();
                        out.extend(delimited_head(layer.form().net_field(), body.len()));
                        out.extend_from_slice(body);
                    }
                },
            }
        }
        out
    }
}
