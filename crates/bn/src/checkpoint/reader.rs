//! Reading layers from a safetensors file that nobody vouches for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bn_core::{Element, Momentum, Seen};
use ndarray::Array1;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{BATCHES, BIAS, RUNNING_MEAN, RUNNING_VAR, WEIGHT, values};
use crate::{BatchNorm, Error, RunningStatistics};

/// The bytes in front of the header that say how long it is.
const LENGTH: u64 = 8;

/// The longest header that is read; the format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// A safetensors file, of which the header is in memory and tensors are read when they are asked for;
/// see [`checkpoint`](super).
///
/// No memory is taken on a header's word alone: the header is as long as the file really is, and a
/// tensor is read after its shape has been compared with the layer's.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    data: u64,
    header: Metadata,
}

impl Reader<File> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be read or is not a regular file; those of [`Reader::new`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let open = || {
            // Asked before opening: to open a pipe waits for its other end.
            if !path.metadata()?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
            }
            File::open(path)
        };
        Self::new(open().map_err(|source| Error::Io {
            action: "read",
            path: path.into(),
            source,
        })?)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the header of a file, or of bytes in a [`Cursor`](io::Cursor).
    ///
    /// # Errors
    ///
    /// [`Error::NotSafetensors`], which says where it is malformed or cut short.
    pub fn new(mut source: R) -> Result<Self, Error> {
        let size = source.seek(SeekFrom::End(0)).map_err(malformed)?;
        source.rewind().map_err(malformed)?;
        if size < LENGTH {
            return Err(malformed(format!("{size} bytes; expected at least {LENGTH}")));
        }
        let mut length = [0; LENGTH as usize];
        source.read_exact(&mut length).map_err(malformed)?;
        let length = u64::from_le_bytes(length);
        let limit = LONGEST_HEADER.min(size - LENGTH);
        if length > limit {
            return Err(malformed(format!("a header of {length} bytes; expected at most {limit}")));
        }
        let header = read(&mut source, length).map_err(malformed)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(malformed)?;
        let data = LENGTH + length;
        let (found, expected) = (size - data, header.data_len() as u64);
        if found != expected {
            return Err(malformed(format!("{found} bytes of tensors; expected {expected}")));
        }
        Ok(Self { source, data, header })
    }

    /// The names of all tensors, in the order of their data.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Restores a layer from the tensors behind `prefix`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`], [`Error::NotSafetensors`]. The layer is then what it was.
    pub fn restore<T: Element, B: ?Sized>(
        &mut self,
        prefix: &str,
        layer: &mut BatchNorm<T, B>,
    ) -> Result<(), Error> {
        let channels = layer.channels();
        let mut parameter = |own, has| self.parameter(&format!("{prefix}{own}"), has, channels);
        let gamma = parameter(WEIGHT, layer.gamma().is_some())?;
        let beta = parameter(BIAS, layer.beta().is_some())?;
        let mean = parameter(RUNNING_MEAN, layer.running().is_some())?;
        let var = parameter(RUNNING_VAR, layer.running().is_some())?;
        let batches = self.batches(prefix, layer)?;

        if let (Some(mean), Some(var)) = (mean, var) {
            // Averages; as Caffe's sums they have factor 1, and under other conventions none.
            let sums = matches!(layer.momentum(), Momentum::CaffeSum(_));
            let seen = Seen { batches, factor: if sums { 1.0 } else { 0.0 } };
            let running = RunningStatistics::new(mean, var, seen).map_err(|error| match error {
                Error::Statistic { name, channel, found, expected } => Error::Tensor {
                    name: format!("{prefix}{name}"),
                    found: format!("channel {channel} is {found}"),
                    expected: expected.into(),
                },
                other => other,
            })?;
            layer.set_running(running)?;
        }
        // Nothing fails from here on.
        if let (Some(mut to), Some(from)) = (layer.gamma_mut(), gamma) {
            to.assign(&from);
        }
        if let (Some(mut to), Some(from)) = (layer.beta_mut(), beta) {
            to.assign(&from);
        }
        Ok(())
    }

    /// The values of a tensor that the layer has; nothing where the layer has none and the file agrees.
    fn parameter<P: Element>(
        &mut self,
        name: &str,
        has: bool,
        channels: usize,
    ) -> Result<Option<Array1<P>>, Error> {
        let Some(info) = self.find(name, has)? else {
            return Ok(None);
        };
        let refuse = |found: String, expected: &str| {
            Err(Error::Tensor { name: name.into(), found, expected: expected.into() })
        };
        if info.shape != [channels] {
            let expected = format!("shape [{channels}], one value per channel");
            return refuse(format!("shape {:?}", info.shape), &expected);
        }
        let Some(values) = values::to_f64(info.dtype, &self.bytes(&info)?) else {
            return refuse(format!("element type {}", info.dtype), "F32, F64, F16 or BF16");
        };
        let rounded = |&value: &f64| P::from_f64(value).to_f64() != value && !value.is_nan();
        if let Some(value) = values.iter().copied().find(|value| rounded(value)) {
            let expected = format!("values that {} holds exactly", P::DTYPE);
            return refuse(format!("{} value {value:e}", info.dtype), &expected);
        }
        Ok(Some(values.into_iter().map(P::from_f64).collect()))
    }

    /// The number of batches that running statistics have seen.
    fn batches<T: Element, B: ?Sized>(
        &mut self,
        prefix: &str,
        layer: &BatchNorm<T, B>,
    ) -> Result<u64, Error> {
        let name = format!("{prefix}{BATCHES}");
        let has = layer.running().is_some();
        let needed = has && layer.momentum() == Momentum::Cumulative;
        if has && !needed && self.header.info(&name).is_none() {
            return Ok(0);
        }
        let Some(info) = self.find(&name, has)? else {
            return Ok(0);
        };
        let refuse = |found: String, expected: &str| {
            Err(Error::Tensor { name: name.clone(), found, expected: expected.into() })
        };
        if !matches!(info.shape[..], [] | [1]) || info.dtype != Dtype::I64 {
            return refuse(format!("{} of shape {:?}", info.dtype, info.shape), "one I64");
        }
        let bytes = self.bytes(&info)?;
        let value = <[u8; 8]>::try_from(bytes).map(i64::from_le_bytes).unwrap_or_default();
        u64::try_from(value).or_else(|_| refuse(value.to_string(), "a number of at least 0"))
    }

    /// What the header says of a tensor, where file and layer agree on whether there is one.
    fn find(&self, name: &str, has: bool) -> Result<Option<TensorInfo>, Error> {
        let info = self.header.info(name);
        let (found, expected) = match (info, has) {
            (Some(_), true) | (None, false) => return Ok(info.cloned()),
            (None, true) => ("not in the file", "the layer has one"),
            (Some(_), false) => ("in the file", "none, the layer was built without"),
        };
        Err(Error::Tensor { name: name.into(), found: found.into(), expected: expected.into() })
    }

    fn bytes(&mut self, info: &TensorInfo) -> Result<Vec<u8>, Error> {
        let (start, end) = info.data_offsets;
        self.source.seek(SeekFrom::Start(self.data + start as u64)).map_err(malformed)?;
        read(&mut self.source, (end - start) as u64).map_err(malformed)
    }
}

/// Reads `length` bytes, which the file was seen to have; memory grows with what really arrives.
fn read(source: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn malformed(reason: impl ToString) -> Error {
    Error::NotSafetensors { reason: reason.to_string() }
}
