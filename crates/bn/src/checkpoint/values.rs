//! Values of a parameter as bytes and back, whatever element type the file has.

use bn_core::{DType, Element, bf16, f16};
use safetensors::Dtype;

/// The name of the type in a file that parameters of type `P` are written as.
pub(super) const fn stored_as<P: Element>() -> Dtype {
    match P::DTYPE {
        DType::F64 => Dtype::F64,
        _ => Dtype::F32,
    }
}

/// Values as little-endian bytes.
pub(super) fn to_bytes<'a, P: Element>(values: impl IntoIterator<Item = &'a P>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        match P::DTYPE {
            DType::F64 => bytes.extend(value.to_f64().to_le_bytes()),
            // Exact: a parameter that is not an f64 is an f32.
            _ => bytes.extend((value.to_f64() as f32).to_le_bytes()),
        }
    }
    bytes
}

/// Little-endian bytes as `f64`, exactly; `None` where the type is not one of the four.
pub(super) fn to_f64(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
    }
    Some(match dtype {
        Dtype::F64 => decode(bytes, f64::from_le_bytes),
        Dtype::F32 => decode(bytes, |chunk| f64::from(f32::from_le_bytes(chunk))),
        Dtype::F16 => decode(bytes, |chunk| f16::from_le_bytes(chunk).to_f64()),
        Dtype::BF16 => decode(bytes, |chunk| bf16::from_le_bytes(chunk).to_f64()),
        _ => return None,
    })
}
