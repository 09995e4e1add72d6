//! The messages of `caffe.proto` that batch normalisation needs, as prost structs.
//!
//! Field numbers and defaults are those of BVLC Caffe, `src/caffe/proto/caffe.proto`. A getter of
//! the field's name gives Caffe's default where the field is absent: `eps()` of an empty
//! [`BatchNormParameter`] is 1e-5. `float` fields are `f32` here as there, also in double nets.
//!
//! Messages and fields that are not listed (pooling, data layers, every fork's own) are skipped when
//! decoding and kept when a file is rewritten, see [`raw`](super::raw). Both file formats fill the
//! same structs: [`text`](crate::text) reads a `.prototxt` into them.

mod blob;
mod filler;
mod layer;
mod net;
mod normalization;
mod operations;
mod v1;

pub use blob::{BlobProto, BlobShape};
pub use filler::{FillerParameter, VarianceNorm};
pub use layer::{LayerParameter, ParamSpec, ShareMode};
pub use net::{NetParameter, NetState, NetStateRule, Phase};
pub use normalization::{BatchNormParameter, BiasParameter, ScaleParameter};
pub use operations::{
    ConvolutionParameter, EltwiseOp, EltwiseParameter, InnerProductParameter, InputParameter,
    ReluParameter,
};
pub use v1::V1LayerParameter;
