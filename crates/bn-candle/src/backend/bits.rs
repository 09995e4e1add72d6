//! Activation bits by arithmetic: candle has no bitwise operations.

use bn_core::Problem;
use candle_core::{DType, Device, Result, Tensor};

use super::CandleBuffer;

/// One bit for each element of y that the ReLU let through, each row padded to whole bytes.
pub(super) fn pack(problem: &Problem, y: &Tensor) -> Result<CandleBuffer<u8>> {
    let (rows, row_len) = (problem.rows(), problem.row_len());
    let bytes = row_len.div_ceil(8);
    let passed = y.reshape((rows, row_len))?.to_dtype(DType::F64)?.le(0f64)?.eq(0u8)?;
    let padded = passed.to_dtype(DType::F32)?.pad_with_zeros(1, 0, bytes * 8 - row_len)?;
    let weighted = padded.reshape((rows, bytes, 8))?.broadcast_mul(&powers_of_two(y.device())?)?;
    CandleBuffer::flat(&weighted.sum(2)?.to_dtype(DType::U8)?)
}

/// A byte for each element, 1 where its bit is set: floor(byte/2ᵏ) − 2·floor(byte/2ᵏ⁺¹).
pub(super) fn unpack(problem: &Problem, bits: &CandleBuffer<u8>) -> Result<CandleBuffer<u8>> {
    let (rows, row_len) = (problem.rows(), problem.row_len());
    let bytes = row_len.div_ceil(8);
    let packed = bits.tensor().to_dtype(DType::F32)?.reshape((rows, bytes, 1))?;
    let shifted = packed.broadcast_div(&powers_of_two(packed.device())?)?.floor()?;
    let bit = (&shifted - ((&shifted / 2.0)?.floor()? * 2.0)?)?;
    let flat = bit.reshape((rows, bytes * 8))?.narrow(1, 0, row_len)?.to_dtype(DType::U8)?;
    CandleBuffer::flat(&flat)
}

/// 1, 2, 4, … 128.
fn powers_of_two(device: &Device) -> Result<Tensor> {
    Tensor::from_vec((0..8).map(|k| f32::from(1u8 << k)).collect(), (1, 1, 8), device)
}
