//! Settings of BatchNorm, Scale and Bias.

use super::FillerParameter;

/// Settings of a BatchNorm layer (field 139 of the layer).
///
/// ```
/// let p = bn_caffe::proto::schema::BatchNormParameter::default();
/// assert_eq!(f64::from(p.eps()), 9.999_999_747_378_752e-6);
/// assert_eq!(f64::from(p.moving_average_fraction()), 0.999_000_012_874_603_3);
/// ```
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct BatchNormParameter {
    /// Whether the stored statistics normalise. Absent: in phase TEST yes, in TRAIN no.
    #[prost(bool, optional, tag = "1")]
    pub use_global_stats: Option<bool>,
    /// What remains of the stored sums at each update; any value is accepted.
    #[prost(float, optional, tag = "2", default = "0.999")]
    pub moving_average_fraction: Option<f32>,
    /// Added to the variance inside the root; any value is accepted.
    #[prost(float, optional, tag = "3", default = "0.00001")]
    pub eps: Option<f32>,
}

/// Settings of a Scale layer (field 142 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScaleParameter {
    /// First axis of the input that the factor covers; negative values count from the end.
    #[prost(int32, optional, tag = "1", default = "1")]
    pub axis: Option<i32>,
    /// Number of axes covered: -1 for all from `axis` on, 0 for a scalar. Ignored with two inputs.
    #[prost(int32, optional, tag = "2", default = "1")]
    pub num_axes: Option<i32>,
    /// Initial factor. Absent: 1. Present but empty: 0.
    #[prost(message, optional, tag = "3")]
    pub filler: Option<FillerParameter>,
    /// Whether a bias of the factor's shape is added.
    #[prost(bool, optional, tag = "4", default = "false")]
    pub bias_term: Option<bool>,
    /// Initial bias; absent or empty: 0.
    #[prost(message, optional, tag = "5")]
    pub bias_filler: Option<FillerParameter>,
}

/// Settings of a Bias layer (field 141 of the layer).
#[derive(Clone, PartialEq, prost::Message)]
pub struct BiasParameter {
    /// First axis of the input that the bias covers; negative values count from the end.
    #[prost(int32, optional, tag = "1", default = "1")]
    pub axis: Option<i32>,
    /// Number of axes covered: -1 for all from `axis` on, 0 for a scalar. Ignored with two inputs.
    #[prost(int32, optional, tag = "2", default = "1")]
    pub num_axes: Option<i32>,
    /// Initial bias; absent or empty: 0.
    #[prost(message, optional, tag = "3")]
    pub filler: Option<FillerParameter>,
}
