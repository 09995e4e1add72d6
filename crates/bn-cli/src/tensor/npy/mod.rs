//! NumPy's .npy: read in either element order and either byte order, written row-major and
//! little-endian.

use std::io::Read;

use bn_core::{DType, f16};

use super::raw::{ByteOrder, extent, read_exactly, read_values, to_row_major};
use super::{Stored, Tensor, TensorError, Values};

mod header;

use header::{Header, quote};

/// The bytes that every .npy file begins with.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header taken; NumPy's own limit.
const HEADER_LIMIT: u64 = 10_000;

const EXPECTED: &str = "f4, f8 or f2 (f32, f64, f16)";

/// Reads a file of `len` bytes.
pub(crate) fn read(reader: &mut impl Read, len: u64) -> Result<Tensor, TensorError> {
    let (header, header_len) = read_header(reader, len)?;
    let (dtype, order) = element_type(&header)?;
    let (count, expected) = extent(&header.shape, dtype.size())?;
    let found = len - header_len;
    if found < expected {
        return Err(TensorError::Truncated { part: "its data", found, expected });
    }
    if found > expected {
        return Err(TensorError::Surplus { found, expected });
    }
    let values = match dtype {
        DType::F64 => values::<f64>(reader, &header, count, order),
        DType::F16 => values::<f16>(reader, &header, count, order),
        _ => values::<f32>(reader, &header, count, order),
    }?;
    Ok(Tensor { dims: header.shape, values })
}

/// The header of a file of values of this type; `None` for bf16, which NumPy has not.
pub(crate) fn header(dtype: DType, dims: &[usize]) -> Option<Vec<u8>> {
    let descr = match dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::BF16 | DType::U8 => return None,
    };
    let header = Header { descr: descr.into(), fortran_order: false, shape: dims.to_vec() };
    let mut text = header.to_text().into_bytes();
    // The whole is padded to a multiple of 64 bytes, its last byte a newline. Version 1.0 counts
    // the text in two bytes, which no shape of a possible file exceeds.
    let prefix = MAGIC.len() + 4;
    text.resize((prefix + text.len() + 1).next_multiple_of(64) - prefix - 1, b' ');
    text.push(b'\n');
    let length = u16::try_from(text.len()).ok()?;
    Some([MAGIC, &[1, 0], &length.to_le_bytes(), &text].concat())
}

/// Reads the header after having measured it, and gives its length with it.
fn read_header(reader: &mut impl Read, len: u64) -> Result<(Header, u64), TensorError> {
    let truncated = |expected| TensorError::Truncated { part: "its header", found: len, expected };
    let bytes = read_exactly(reader, len.min(8) as usize)?;
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    if magic != &MAGIC[..magic.len()] {
        return Err(TensorError::Magic { found: magic.escape_ascii().to_string() });
    }
    let [_, _, _, _, _, _, major, minor] = bytes[..] else { return Err(truncated(10)) };
    let length_size = match (major, minor) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        _ => return Err(TensorError::Version { major, minor }),
    };
    let prefix = 8 + length_size;
    if len < prefix {
        return Err(truncated(prefix));
    }
    let mut length = [0; 4];
    reader.read_exact(&mut length[..length_size as usize])?;
    let dictionary = u64::from(u32::from_le_bytes(length));
    if dictionary > HEADER_LIMIT {
        return Err(TensorError::HeaderTooLong { found: dictionary, limit: HEADER_LIMIT });
    }
    let header_len = prefix + dictionary;
    if len < header_len {
        return Err(truncated(header_len));
    }
    let header = Header::parse(&read_exactly(reader, dictionary as usize)?)?;
    Ok((header, header_len))
}

fn element_type(header: &Header) -> Result<(DType, ByteOrder), TensorError> {
    let (order, name) = match header.descr.as_bytes() {
        [b'<', ..] => (ByteOrder::Little, &header.descr[1..]),
        [b'>', ..] => (ByteOrder::Big, &header.descr[1..]),
        [b'|', ..] => (ByteOrder::Little, &header.descr[1..]),
        [b'=', ..] => (ByteOrder::NATIVE, &header.descr[1..]),
        _ => (ByteOrder::Little, &header.descr[..]),
    };
    let dtype = match name {
        "f4" => DType::F32,
        "f8" => DType::F64,
        "f2" => DType::F16,
        _ => {
            let kind = match name.as_bytes() {
                [b'O', ..] => " (Python objects)",
                [b'i' | b'u', ..] => " (integers)",
                [b'b', ..] => " (booleans)",
                [b'c', ..] => " (complex numbers)",
                [b'S' | b'U', ..] => " (text)",
                b"V2" => " (raw pairs of bytes; bf16 travels in .safetensors)",
                _ => "",
            };
            let found = format!("{}{kind}", quote(&header.descr));
            return Err(TensorError::ElementType { found, expected: EXPECTED });
        }
    };
    Ok((dtype, order))
}

fn values<T: Stored>(
    reader: &mut impl Read,
    header: &Header,
    count: usize,
    order: ByteOrder,
) -> Result<Values, TensorError> {
    let mut values = read_values::<T>(reader, count, order)?;
    if header.fortran_order {
        values = to_row_major(&header.shape, values)?;
    }
    Ok(T::into_values(values))
}
