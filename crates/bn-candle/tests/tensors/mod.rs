//! Tensors for the tests: the same numbers on every run, and how far two tensors are apart.
#![allow(dead_code, reason = "each test program takes what it needs")]

use candle_core::{DType, Device, Result, Tensor, Var};

/// Numbers of a uniform distribution around `mean`, from a seed: candle's CPU generator takes none.
pub fn uniform(dims: &[usize], mean: f64, width: f64, seed: u64) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f64> = (0..dims.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            mean + width * ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// The same as a variable of a type.
pub fn variable(dims: &[usize], mean: f64, width: f64, seed: u64, dtype: DType) -> Result<Var> {
    Var::from_tensor(&uniform(dims, mean, width, seed)?.to_dtype(dtype)?)
}

/// All values, in logical order.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The largest |a − b| / max(1, |b|), and infinity where shapes differ or a NaN stands in one alone.
pub fn difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    if a.dims() != b.dims() {
        return Ok(f64::INFINITY);
    }
    let pairs = values(a)?.into_iter().zip(values(b)?);
    Ok(pairs
        .map(|(a, b)| if a.is_nan() != b.is_nan() { f64::INFINITY } else { distance(a, b) })
        .fold(0.0, f64::max))
}

fn distance(a: f64, b: f64) -> f64 {
    if a.is_nan() { 0.0 } else { (a - b).abs() / b.abs().max(1.0) }
}

/// Weights that make every element of y count differently in a loss.
pub fn weighted_sum(y: &Tensor, seed: u64) -> Result<Tensor> {
    (y * uniform(y.dims(), 0.0, 2.0, seed)?.to_dtype(y.dtype())?)?.sum_all()
}
