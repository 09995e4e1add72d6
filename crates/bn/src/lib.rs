//! Batch normalisation behind one trait: backends by feature flag or at run time, and the layer.
//!
//! This is the crate to depend on. [`BatchNorm`] is a layer over ndarray arrays, forward and backward;
//! [`open`] and [`backends`] choose at run time where it computes; [`checkpoint`] reads and writes its
//! parameters under PyTorch's names. What the operations compute, to the formula, and the trait that
//! backends implement are in [`core`].
//!
//! # A layer
//!
//! A few steps of training towards a target, then evaluation:
//!
//! ```
//! use bn::{BatchNorm, Layout, Mode};
//! use ndarray::Array4;
//!
//! // 3 channels, and a batch of 4 images of 5×5 with mean and deviation far from 0 and 1.
//! let mut layer = BatchNorm::<f32>::builder(3, Layout::ChannelsFirst).build()?;
//! let x = Array4::from_shape_fn((4, 3, 5, 5), |(n, c, h, w)| {
//!     ((n * 31 + c * 17 + h * 7 + w * 3) % 13) as f32 * 10.0 + 500.0
//! });
//! let target = x.mapv(|x| (x - 560.0) / 20.0 + 0.5);
//!
//! let mut losses = Vec::new();
//! for _ in 0..50 {
//!     let (y, cache) = layer.forward(&x, Mode::TRAIN)?;
//!     let error = y - &target;
//!     losses.push(error.mapv(|e| e * e).mean().unwrap());
//!     let dy = error.mapv(|e| 2.0 * e / x.len() as f32);
//!
//!     // An owned dy becomes dx, which the layer before this one would take.
//!     let gradients = layer.backward(dy, &cache)?;
//!     layer.gamma_mut().unwrap().scaled_add(-0.5, &gradients.dgamma.unwrap());
//!     layer.beta_mut().unwrap().scaled_add(-0.5, &gradients.dbeta.unwrap());
//! }
//! assert!(losses[49] < 0.01 * losses[0], "{losses:?}");
//!
//! // Evaluation is a call of its own: running statistics, nothing cached, nothing changed.
//! let y = layer.infer(&x)?;
//! assert_eq!(y.dim(), x.dim());
//! assert_eq!(layer.running().unwrap().seen().batches, 50);
//! # Ok::<(), bn::Error>(())
//! ```
//!
//! Any rank from 2, dynamic or fixed; arrays, views and `&array` alike. Modes are values of each call,
//! see [`BatchNorm`]. Beside x an [`Input`] takes the residual of a fused
//! [add + ReLU](Activation::AddRelu) and a mask of valid positions.
//!
//! # Memory
//!
//! | call | tensors it allocates | what stays for backward |
//! |---|---|---|
//! | [`forward`](BatchNorm::forward) | y | x, borrowed or owned; one bit for each value behind a ReLU |
//! | [`forward_in_place`](BatchNorm::forward_in_place) | none | y, which the caller has; for layers whose y is x̂ |
//! | [`infer`](BatchNorm::infer) | y; none where x is given by value | - |
//! | [`infer_in_place`](BatchNorm::infer_in_place) | none | - |
//! | [`backward`](BatchNorm::backward) | dx; none where dy is given by value. dresidual behind add + ReLU | - |
//!
//! Arrays whose values do not lie in standard order are copied once on their way in.
//!
//! # Backends
//!
//! | feature | name | what it is | default |
//! |---|---|---|---|
//! | `rayon` | `rayon` | all cores of the CPU, SIMD, the same bits for any number of threads | yes |
//! | `naive` | `naive` | the formulas as loops in `f64`, for reading and for comparison | yes |
//! | `candle` | `candle` | candle's tensor operations on its CPU device; with it comes the layer for candle's users | no |
//!
//! At run time by name, where `auto` takes the first of this table that is compiled in and available:
//!
//! ```
//! use bn::{BatchNorm, Layout, Options};
//!
//! let two_threads = Options::default().with_threads(2);
//! let layer = BatchNorm::<f64>::builder(8, Layout::ChannelsLast).build_named("auto", &two_threads)?;
//! println!("{}", layer.backend().device().label);
//! # use bn::core::Backend;
//! # Ok::<(), bn::Error>(())
//! ```
//!
//! Or by type, compiled in without dynamic dispatch, and shared between layers:
//!
//! ```
//! # #[cfg(feature = "naive")] {
//! use bn::{BatchNorm, Layout, bf16, naive::NaiveBackend};
//! use std::sync::Arc;
//!
//! let backend = Arc::new(NaiveBackend);
//! let builder = BatchNorm::<bf16>::builder(8, Layout::ChannelsLast);
//! let first = builder.clone().build_with(Arc::clone(&backend))?;
//! let second = builder.build_with(backend)?;
//! # assert!(std::sync::Arc::ptr_eq(first.backend(), second.backend()));
//! # }
//! # Ok::<(), bn::Error>(())
//! ```
//!
//! # Conventions
//!
//! Systems differ in what the same number means. Here each convention has a name, and the default is
//! PyTorch's:
//!
//! | | PyTorch | Keras 3 | ONNX | Caffe | here |
//! |---|---|---|---|---|---|
//! | momentum is the weight of | the new value, 0.1 | the old, 0.99 | the old, 0.9 | sums: the old, 0.999 | [`Momentum`] |
//! | variance that normalises | biased | biased | biased | biased | biased |
//! | variance that is tracked | unbiased | biased | biased | unbiased | [`RunningVariance`] |
//! | eps | 1e-5 | 1e-3 | 1e-5 | 1e-5 | [`Builder::eps`] |
//! | gamma and beta | optional together | separately | always | the Scale layer's | separately |
//! | one value per channel in training | error | variance 0 | variance 0 | variance 0 | [`SingleValue`] |
//! | evaluation without running statistics | batch statistics | - | - | - | an error |
//!
//! # Errors
//!
//! [`Error`] names what was found and what was expected. After an error the layer is what it was.
#![forbid(unsafe_code)]

/// The README's examples, run as tests.
#[cfg(all(doctest, any(feature = "rayon", feature = "naive")))]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub mod checkpoint;
mod dense;
mod error;
mod layer;
mod registry;

#[cfg(feature = "candle")]
pub use bn_candle as candle;
pub use bn_core as core;
pub use bn_core::{
    Capabilities, ChannelMoments, DType, Device, Element, Feature, HostBackend, Layout, Mode,
    Momentum, Problem, RunningVariance, Seen, SingleValue, bf16, f16,
};
#[cfg(feature = "naive")]
pub use bn_naive as naive;
#[cfg(feature = "rayon")]
pub use bn_rayon as rayon;
pub use error::Error;
pub use layer::{
    Activation, BatchNorm, Builder, Cache, Gradients, InPlaceCache, Input, RunningStatistics,
    StreamedMoments, WithCache,
};
pub use registry::{BackendEntry, Choice, Options, Status, backends, open};
