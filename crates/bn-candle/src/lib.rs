//! Batch normalisation for candle: a fused, differentiable layer, and candle's own operations as a backend.
//!
//! # The layer
//!
//! [`BatchNorm`] takes the place of `candle_nn::BatchNorm`, by its import alone:
//!
//! ```
//! use bn_candle::{BatchNorm, batch_norm};
//! use candle_core::{DType, Device, Result, Tensor};
//! use candle_nn::{ModuleT, VarBuilder, VarMap};
//!
//! # fn main() -> Result<()> {
//! let map = VarMap::new();
//! let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
//! let layer: BatchNorm = batch_norm(3, 1e-5, vb.pp("bn"))?;
//!
//! let x = Tensor::randn(5f32, 2.0, (8, 3, 4, 4), &Device::Cpu)?;
//! let y = layer.forward_t(&x, true)?;
//! let gradients = y.sqr()?.mean_all()?.backward()?;
//!
//! let (weight, _) = layer.weight_and_bias().expect("made with both");
//! assert_eq!(gradients.get(weight).expect("a gradient").dims(), [3]);
//! assert!(map.data().lock().unwrap().contains_key("bn.running_var"));
//! # Ok(())
//! # }
//! ```
//!
//! In the graph it is one node. Forward reads x and writes y, and keeps C means and factors in `f64` (and
//! one bit for each element behind a fused ReLU); backward gives dx, dgamma and dbeta from one
//! kernel, and only those that candle tracks. candle_nn's layer is a chain of tensor operations whose
//! intermediates the graph keeps.
//!
//! | `train` | normalises with | running statistics | |
//! |---|---|---|---|
//! | `true` | the batch's | updated in place | [`Mode::TRAIN`] |
//! | `false` | running | read | [`Mode::EVAL`], differentiable: a frozen layer in training |
//! | [`BatchNorm::with_training_mode`] | as the [`Mode`] says | as the [`Mode`] says | instead of `train = true` |
//!
//! - **Types.** x is `f32`, `f64`, `bf16` or `f16`; gamma, beta and statistics are `f32`, for `f64` they are `f64`.
//! - **Shapes.** Any rank from 2; channels on axis 1, or last with [`BatchNorm::with_layout`].
//! - **Views.** A tensor that lies transposed in memory is read as it lies, and y lies likewise: a
//!   channels-last tensor seen channels-first, the reverse, and any other order of axes. Views with gaps
//!   or repeated values are copied, once. (candle itself adds up gradients in logical order, and is slow
//!   where that is not the order of memory.)
//! - **Fused.** [`batch_norm_relu`], and [`batch_norm_add_relu`] for the end of a residual block.
//! - **Conventions.** [`Momentum`], [`RunningVariance`], [`SingleValue`]; the defaults are candle_nn's, except
//!   that eps must be above 0 and that one value per channel in training is an error (there, NaN).
//! - **Folding.** [`BatchNorm::absorb_into_conv2d`] and its siblings.
//! - **Second-order gradients** are an error. Where candle itself cuts a gradient off from its graph
//!   before it reaches a variable, which is its default, there is nothing to answer for.
//! - **Threads.** The layer may be shared; batches enter the running statistics one after the other. On a CUDA
//!   device that holds for threads that share a stream; candle's default one is another in each thread, in which
//!   no tensor of another thread's is in order either.
//!
//! On the CPU the kernels are those of `bn-rayon`, in the rayon pool that the caller is in. On a CUDA device
//! they are those of `bn-cuda`, in the stream of candle's device, where the feature `cuda` is on; nothing
//! waits for the device, and running statistics are updated there. Both work on candle's own storage.
//! Tensors on other devices are refused with an error that says so.
//!
//! ```
//! use bn_candle::{Layout, Momentum, RunningVariance, batch_norm, batch_norm_add_relu};
//! # use candle_core::{DType, Device, Result, Tensor};
//! # use candle_nn::{Module, VarBuilder, VarMap};
//! # fn main() -> Result<()> {
//! # let map = VarMap::new();
//! # let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
//! # let x = Tensor::randn(0f32, 1.0, (8, 4, 4, 3), &Device::Cpu)?;
//! let layer = batch_norm(3, 1e-3, vb.pp("bn"))?
//!     .with_layout(Layout::ChannelsLast)
//!     .with_momentum(Momentum::Old(0.99))?
//!     .with_running_variance(RunningVariance::Biased);
//! let y = layer.forward_train(&x)?;
//!
//! // y = relu(gamma·x̂ + beta + residual), one node.
//! let x = x.permute((0, 3, 1, 2))?;
//! let end = batch_norm_add_relu(3, 1e-5, vb.pp("end"))?;
//! let y = end.forward_t(&x, &y.permute((0, 3, 1, 2))?, true)?;
//! assert_eq!(y.dims(), [8, 3, 4, 4]);
//!
//! // A plain module, for inference and around what is not to be trained.
//! assert_eq!(layer.frozen().forward(&y.permute((0, 2, 3, 1))?)?.dims(), [8, 4, 4, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! # The backend
//!
//! [`CandleBackend`] implements [`bn_core::BatchNormBackend`] with candle's tensor operations, on any device
//! that candle has. It passes the conformance suite of the workspace and shows what candle alone can
//! do; it is not fast.
#![deny(unsafe_code)]

mod backend;
mod layer;
mod node;

pub use backend::{CandleBackend, CandleBuffer, CandleMemory};
pub use bn_core::{Layout, Mode, Momentum, RunningVariance, SingleValue, Statistics, Tracking};
pub use candle_nn::BatchNormConfig;
pub use layer::{
    BatchNorm, BatchNormAddRelu, FrozenBatchNorm, batch_norm, batch_norm_add_relu, batch_norm_relu,
};
