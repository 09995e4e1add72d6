//! x
#![forbid(unsafe_code)]

mod backend;
mod layer;
mod node;

pub use backend::{CandleBackend, CandleBuffer, CandleMemory};
pub use bn_core::{Layout, Mode, Momentum, RunningVariance, SingleValue, Statistics, Tracking};
pub use candle_nn::BatchNormConfig;
pub use layer::{
    BatchNorm, BatchNormAddRelu, FrozenBatchNorm, batch_norm, batch_norm_add_relu, batch_norm_relu,
};
