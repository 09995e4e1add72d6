//! A blob in a file: shape and values.

/// Shape of a blob, outermost dimension first.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlobShape {
    /// Size of each axis.
    #[prost(int64, repeated, packed = "true", tag = "1")]
    pub dim: Vec<i64>,
}

/// A blob as a file holds it.
///
/// This struct copies the values. [`Blob`](crate::blob::Blob) reads the same message without a copy
/// and applies Caffe's rules to it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlobProto {
    /// Legacy shape: batch.
    #[prost(int32, optional, tag = "1")]
    pub num: Option<i32>,
    /// Legacy shape: channels.
    #[prost(int32, optional, tag = "2")]
    pub channels: Option<i32>,
    /// Legacy shape: height.
    #[prost(int32, optional, tag = "3")]
    pub height: Option<i32>,
    /// Legacy shape: width.
    #[prost(int32, optional, tag = "4")]
    pub width: Option<i32>,
    /// Values in single precision.
    #[prost(float, repeated, packed = "true", tag = "5")]
    pub data: Vec<f32>,
    /// Gradients in single precision.
    #[prost(float, repeated, packed = "true", tag = "6")]
    pub diff: Vec<f32>,
    /// Shape; ignored where a legacy field is present.
    #[prost(message, optional, tag = "7")]
    pub shape: Option<BlobShape>,
    /// Values in double precision; they win over `data`.
    #[prost(double, repeated, packed = "true", tag = "8")]
    pub double_data: Vec<f64>,
    /// Gradients in double precision.
    #[prost(double, repeated, packed = "true", tag = "9")]
    pub double_diff: Vec<f64>,
    /// Element type of `raw_data`: 0 double, 1 float, 2 half. An extension of NVCaffe, also written
    /// by OpenCV.
    #[prost(int32, optional, tag = "10")]
    pub raw_data_type: Option<i32>,
    /// Values as little-endian bytes of `raw_data_type`.
    #[prost(bytes = "bytes", optional, tag = "12")]
    pub raw_data: Option<prost::bytes::Bytes>,
}
