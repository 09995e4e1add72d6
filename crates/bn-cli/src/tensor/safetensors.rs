//! .safetensors: only the header and the tensor asked for are read.
//!
//! The crate's own reader wants the whole file in memory; its types describe and check the header.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use bn_core::{DType, bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::raw::{ByteOrder, extent, read_exactly, read_values};
use super::{Role, Stored, Tensor, TensorError};

/// Longest header taken: the limit of the format.
const HEADER_LIMIT: u64 = 100_000_000;

const EXPECTED: &str = "F32, F64, F16 or BF16";

/// Reads the tensor called `name`, or else the one that `role` means, from a file of `len` bytes.
pub(crate) fn read(
    reader: &mut (impl Read + Seek),
    len: u64,
    name: Option<&str>,
    role: Role,
) -> Result<Tensor, TensorError> {
    let (metadata, start) = read_header(reader, len)?;
    let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
    let info = choose(&tensors, name, role)?;
    let dtype = element_type(info.dtype)?;
    // The header has been checked: the offsets span exactly these bytes, within the file.
    let (count, _) = extent(&info.shape, dtype.size())?;
    reader.seek(SeekFrom::Start(start + info.data_offsets.0 as u64))?;
    let values = match dtype {
        DType::F64 => f64::into_values(read_values(reader, count, ByteOrder::Little)?),
        DType::F16 => f16::into_values(read_values(reader, count, ByteOrder::Little)?),
        DType::BF16 => bf16::into_values(read_values(reader, count, ByteOrder::Little)?),
        DType::F32 | DType::U8 => f32::into_values(read_values(reader, count, ByteOrder::Little)?),
    };
    Ok(Tensor { dims: info.shape.clone(), values })
}

/// The header of a file of one tensor.
pub(crate) fn header(name: &str, dtype: DType, dims: &[usize]) -> Option<Vec<u8>> {
    let dtype = match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::U8 => Dtype::U8,
    };
    let bytes = dims.iter().product::<usize>() * dtype.bitsize() / 8;
    let info = TensorInfo { dtype, shape: dims.to_vec(), data_offsets: (0, bytes) };
    let metadata = Metadata::new(None, vec![(name.to_owned(), info)]).ok()?;
    let mut text = serde_json::to_vec(&metadata).ok()?;
    // Padded, so that the data is aligned to 8 bytes in a mapped file.
    text.resize(text.len().next_multiple_of(8), b' ');
    Some([&(text.len() as u64).to_le_bytes()[..], &text].concat())
}

/// The header, checked against the file's size, and where the data begins.
fn read_header(reader: &mut impl Read, len: u64) -> Result<(Metadata, u64), TensorError> {
    let truncated = |expected| TensorError::Truncated { part: "its header", found: len, expected };
    if len < 8 {
        return Err(truncated(8));
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_LIMIT {
        return Err(TensorError::HeaderTooLong { found: length, limit: HEADER_LIMIT });
    }
    let start = 8 + length;
    if len < start {
        return Err(truncated(start));
    }
    let text = read_exactly(reader, length as usize)?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| TensorError::Header(error.to_string()))?;
    let (found, expected) = (len - start, metadata.data_len() as u64);
    if found < expected {
        return Err(TensorError::Truncated { part: "its data", found, expected });
    }
    if found > expected {
        return Err(TensorError::Surplus { found, expected });
    }
    Ok((metadata, start))
}

fn choose<'a>(
    tensors: &BTreeMap<String, &'a TensorInfo>,
    name: Option<&str>,
    role: Role,
) -> Result<&'a TensorInfo, TensorError> {
    if let Some(name) = name {
        return tensors.get(name).copied().ok_or_else(|| TensorError::NoSuchTensor {
            name: name.to_owned(),
            names: list(tensors.keys()),
        });
    }
    if let [only] = tensors.values().copied().collect::<Vec<_>>()[..] {
        return Ok(only);
    }
    let known = |name: &&&str| tensors.contains_key(**name);
    match role.names().iter().filter(known).collect::<Vec<_>>()[..] {
        [name] => Ok(tensors[*name]),
        [] if tensors.is_empty() => Err(TensorError::NoTensors),
        [] => Err(TensorError::NoneForRole {
            count: tensors.len(),
            expected: role.names().join(" or "),
            names: list(tensors.keys()),
        }),
        ref several => Err(TensorError::Ambiguous { names: list(several.iter()) }),
    }
}

/// The first few names, quoted.
fn list(names: impl ExactSizeIterator<Item = impl std::fmt::Debug>) -> String {
    const SHOWN: usize = 8;
    if names.len() == 0 {
        return "none".into();
    }
    let left_out = names.len().saturating_sub(SHOWN);
    let shown: Vec<_> = names.take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn element_type(dtype: Dtype) -> Result<DType, TensorError> {
    match dtype {
        Dtype::F32 => Ok(DType::F32),
        Dtype::F64 => Ok(DType::F64),
        Dtype::F16 => Ok(DType::F16),
        Dtype::BF16 => Ok(DType::BF16),
        other => Err(TensorError::ElementType { found: other.to_string(), expected: EXPECTED }),
    }
}
