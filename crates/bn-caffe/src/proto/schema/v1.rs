//! A layer of the old form, `layers { … }`, with a numbered type.

use prost::bytes::Bytes;

use super::{
    ConvolutionParameter, EltwiseParameter, InnerProductParameter, NetStateRule, ReluParameter,
    ShareMode,
};
use crate::proto::layer_type::V1LayerType;

/// One layer of the old form. BatchNorm, Scale and Bias never had it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct V1LayerParameter {
    /// A layer of the still older form inside this one; refused.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub layer: Option<Bytes>,
    /// Names of the inputs.
    #[prost(string, repeated, tag = "2")]
    pub bottom: Vec<String>,
    /// Names of the outputs.
    #[prost(string, repeated, tag = "3")]
    pub top: Vec<String>,
    /// Name, by which weights are matched.
    #[prost(string, optional, tag = "4")]
    pub name: Option<String>,
    /// Numbered type.
    #[prost(enumeration = "V1LayerType", optional, tag = "5")]
    pub type_number: Option<i32>,
    /// The blobs, as in [`LayerParameter`](super::LayerParameter).
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub blobs: Vec<Bytes>,
    /// Factors of the learning rate, one for each blob.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub blobs_lr: Vec<f32>,
    /// Factors of the weight decay, one for each blob.
    #[prost(float, repeated, packed = "false", tag = "8")]
    pub weight_decay: Vec<f32>,
    /// Settings of Convolution and Deconvolution.
    #[prost(message, optional, tag = "10")]
    pub convolution_param: Option<ConvolutionParameter>,
    /// Settings of `InnerProduct`.
    #[prost(message, optional, tag = "17")]
    pub inner_product_param: Option<InnerProductParameter>,
    /// Settings of Eltwise.
    #[prost(message, optional, tag = "24")]
    pub eltwise_param: Option<EltwiseParameter>,
    /// Settings of `ReLU`.
    #[prost(message, optional, tag = "30")]
    pub relu_param: Option<ReluParameter>,
    /// The layer exists only in nets that meet one of these rules.
    #[prost(message, repeated, tag = "32")]
    pub include: Vec<NetStateRule>,
    /// The layer does not exist in nets that meet one of these rules.
    #[prost(message, repeated, tag = "33")]
    pub exclude: Vec<NetStateRule>,
    /// Weight of each output in the loss.
    #[prost(float, repeated, packed = "false", tag = "35")]
    pub loss_weight: Vec<f32>,
    /// Names of shared blobs.
    #[prost(string, repeated, tag = "1001")]
    pub param: Vec<String>,
    /// How the shapes of shared blobs are compared.
    #[prost(enumeration = "ShareMode", repeated, packed = "false", tag = "1002")]
    pub blob_share_mode: Vec<i32>,
}

impl V1LayerParameter {
    /// Numbers of the fields above other than the blobs.
    pub(crate) fn is_setting(number: u32) -> bool {
        matches!(number, 1..=5 | 7 | 8 | 10 | 17 | 24 | 30 | 32 | 33 | 35 | 1001 | 1002)
    }
}
