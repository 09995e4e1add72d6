//! Settings of the layers around a batch normalisation: those that are run or folded into.

use super::{BlobShape, FillerParameter};

/// Settings of Convolution and Deconvolution (field 106 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConvolutionParameter {
    /// Number of outputs.
    #[prost(uint32, optional, tag = "1")]
    pub num_output: Option<u32>,
    /// Whether a bias is added.
    #[prost(bool, optional, tag = "2", default = "true")]
    pub bias_term: Option<bool>,
    /// Padding, once or per spatial axis; 0 where absent.
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub pad: Vec<u32>,
    /// Kernel size, once or per spatial axis.
    #[prost(uint32, repeated, packed = "false", tag = "4")]
    pub kernel_size: Vec<u32>,
    /// Groups of channels that are convolved apart.
    #[prost(uint32, optional, tag = "5", default = "1")]
    pub group: Option<u32>,
    /// Stride, once or per spatial axis; 1 where absent.
    #[prost(uint32, repeated, packed = "false", tag = "6")]
    pub stride: Vec<u32>,
    /// Initial weights.
    #[prost(message, optional, tag = "7")]
    pub weight_filler: Option<FillerParameter>,
    /// Initial bias.
    #[prost(message, optional, tag = "8")]
    pub bias_filler: Option<FillerParameter>,
    /// Padding in height, for two spatial axes.
    #[prost(uint32, optional, tag = "9", default = "0")]
    pub pad_h: Option<u32>,
    /// Padding in width.
    #[prost(uint32, optional, tag = "10", default = "0")]
    pub pad_w: Option<u32>,
    /// Kernel height.
    #[prost(uint32, optional, tag = "11")]
    pub kernel_h: Option<u32>,
    /// Kernel width.
    #[prost(uint32, optional, tag = "12")]
    pub kernel_w: Option<u32>,
    /// Stride in height.
    #[prost(uint32, optional, tag = "13")]
    pub stride_h: Option<u32>,
    /// Stride in width.
    #[prost(uint32, optional, tag = "14")]
    pub stride_w: Option<u32>,
    /// The axis of the channels.
    #[prost(int32, optional, tag = "16", default = "1")]
    pub axis: Option<i32>,
    /// Distance of the kernel's taps, once or per spatial axis; 1 where absent.
    #[prost(uint32, repeated, packed = "false", tag = "18")]
    pub dilation: Vec<u32>,
}

/// Settings of `InnerProduct` (field 117 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct InnerProductParameter {
    /// Number of outputs.
    #[prost(uint32, optional, tag = "1")]
    pub num_output: Option<u32>,
    /// Whether a bias is added.
    #[prost(bool, optional, tag = "2", default = "true")]
    pub bias_term: Option<bool>,
    /// Initial weights.
    #[prost(message, optional, tag = "3")]
    pub weight_filler: Option<FillerParameter>,
    /// Initial bias.
    #[prost(message, optional, tag = "4")]
    pub bias_filler: Option<FillerParameter>,
    /// First axis of the input that is flattened into one vector.
    #[prost(int32, optional, tag = "5", default = "1")]
    pub axis: Option<i32>,
    /// Whether the weights are stored as inputs × outputs instead of outputs × inputs.
    #[prost(bool, optional, tag = "6", default = "false")]
    pub transpose: Option<bool>,
}

/// What an Eltwise layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EltwiseOp {
    /// The product.
    Prod = 0,
    /// The sum, each input times its coefficient.
    Sum = 1,
    /// The largest.
    Max = 2,
}

/// Settings of Eltwise (field 110 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct EltwiseParameter {
    /// The operation; SUM where absent.
    #[prost(enumeration = "EltwiseOp", optional, tag = "1", default = "Sum")]
    pub operation: Option<i32>,
    /// Coefficients of the sum: none, or one for each input.
    #[prost(float, repeated, packed = "false", tag = "2")]
    pub coeff: Vec<f32>,
    /// Whether the gradient of the product is computed without division.
    #[prost(bool, optional, tag = "3", default = "true")]
    pub stable_prod_grad: Option<bool>,
}

/// Settings of `ReLU` (field 123 of the layer).
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ReluParameter {
    /// Factor of negative inputs.
    #[prost(float, optional, tag = "1", default = "0")]
    pub negative_slope: Option<f32>,
}

/// Settings of Input (field 143 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct InputParameter {
    /// Shapes: none, one for all tops, or one for each.
    #[prost(message, repeated, tag = "1")]
    pub shape: Vec<BlobShape>,
}
