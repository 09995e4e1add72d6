//! A layer of the current form, `layer { … }`.

use prost::bytes::Bytes;

use super::{
    BatchNormParameter, BiasParameter, ConvolutionParameter, EltwiseParameter,
    InnerProductParameter, InputParameter, NetStateRule, Phase, ReluParameter, ScaleParameter,
};

/// How closely the shapes of a shared parameter must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ShareMode {
    /// In every axis.
    Strict = 0,
    /// In the number of elements.
    Permissive = 1,
}

/// Training settings of one blob of a layer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ParamSpec {
    /// Blobs of equal non-empty name are one blob.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// How the shapes of shared blobs are compared.
    #[prost(enumeration = "ShareMode", optional, tag = "2")]
    pub share_mode: Option<i32>,
    /// Factor of the learning rate.
    #[prost(float, optional, tag = "3", default = "1")]
    pub lr_mult: Option<f32>,
    /// Factor of the weight decay.
    #[prost(float, optional, tag = "4", default = "1")]
    pub decay_mult: Option<f32>,
}

/// One layer: how it is connected, its settings and its blobs.
///
/// Settings of other layer types, and of forks, are not fields here; see
/// [`schema`](crate::proto::schema).
#[derive(Clone, PartialEq, prost::Message)]
pub struct LayerParameter {
    /// Name, by which weights are matched.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Type string, case-sensitive; some converters leave it out of weight files.
    #[prost(string, optional, tag = "2")]
    pub type_name: Option<String>,
    /// Names of the inputs.
    #[prost(string, repeated, tag = "3")]
    pub bottom: Vec<String>,
    /// Names of the outputs.
    #[prost(string, repeated, tag = "4")]
    pub top: Vec<String>,
    /// Weight of each output in the loss.
    #[prost(float, repeated, packed = "false", tag = "5")]
    pub loss_weight: Vec<f32>,
    /// Training settings of the blobs.
    #[prost(message, repeated, tag = "6")]
    pub param: Vec<ParamSpec>,
    /// The blobs, each an encoded [`BlobProto`](super::BlobProto) that shares the file's memory;
    /// [`Blob::parse`](crate::blob::Blob::parse) reads one.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub blobs: Vec<Bytes>,
    /// The layer exists only in nets that meet one of these rules.
    #[prost(message, repeated, tag = "8")]
    pub include: Vec<NetStateRule>,
    /// The layer does not exist in nets that meet one of these rules.
    #[prost(message, repeated, tag = "9")]
    pub exclude: Vec<NetStateRule>,
    /// Phase of the net that wrote the file. Snapshots carry TRAIN, so it says nothing about use.
    #[prost(enumeration = "Phase", optional, tag = "10")]
    pub phase: Option<i32>,
    /// Whether the gradient of each input is wanted.
    #[prost(bool, repeated, packed = "false", tag = "11")]
    pub propagate_down: Vec<bool>,
    /// Settings of Convolution and Deconvolution.
    #[prost(message, optional, tag = "106")]
    pub convolution_param: Option<ConvolutionParameter>,
    /// Settings of Eltwise.
    #[prost(message, optional, tag = "110")]
    pub eltwise_param: Option<EltwiseParameter>,
    /// Settings of `InnerProduct`.
    #[prost(message, optional, tag = "117")]
    pub inner_product_param: Option<InnerProductParameter>,
    /// Settings of `ReLU`.
    #[prost(message, optional, tag = "123")]
    pub relu_param: Option<ReluParameter>,
    /// Settings of `BatchNorm`.
    #[prost(message, optional, tag = "139")]
    pub batch_norm_param: Option<BatchNormParameter>,
    /// Settings of Bias.
    #[prost(message, optional, tag = "141")]
    pub bias_param: Option<BiasParameter>,
    /// Settings of Scale.
    #[prost(message, optional, tag = "142")]
    pub scale_param: Option<ScaleParameter>,
    /// Settings of Input.
    #[prost(message, optional, tag = "143")]
    pub input_param: Option<InputParameter>,
}

impl LayerParameter {
    /// Numbers of the fields above other than the blobs.
    pub(crate) fn is_setting(number: u32) -> bool {
        matches!(number, 1..=6 | 8..=11 | 106 | 110 | 117 | 123 | 139 | 141 | 142 | 143)
    }
}
