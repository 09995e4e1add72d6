//! How a learned parameter is initialised.

/// What a variance-scaling filler divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum VarianceNorm {
    /// Inputs of one output.
    FanIn = 0,
    /// Outputs of one input.
    FanOut = 1,
    /// The mean of both.
    Average = 2,
}

/// Initial values of a learned blob.
///
/// An empty message is a constant filler of 0. That is not the same as no message: a Scale layer
/// without `filler` starts at 1, with `filler {}` at 0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FillerParameter {
    /// Kind: constant, gaussian, `positive_unitball`, uniform, xavier, msra or bilinear.
    #[prost(string, optional, tag = "1", default = "constant")]
    pub kind: Option<String>,
    /// Value of the constant filler.
    #[prost(float, optional, tag = "2", default = "0")]
    pub value: Option<f32>,
    /// Lower end of the uniform filler.
    #[prost(float, optional, tag = "3", default = "0")]
    pub min: Option<f32>,
    /// Upper end of the uniform filler.
    #[prost(float, optional, tag = "4", default = "1")]
    pub max: Option<f32>,
    /// Mean of the gaussian filler.
    #[prost(float, optional, tag = "5", default = "0")]
    pub mean: Option<f32>,
    /// Standard deviation of the gaussian filler.
    #[prost(float, optional, tag = "6", default = "1")]
    pub std: Option<f32>,
    /// Expected number of non-zero inputs of an output; -1 for all.
    #[prost(int32, optional, tag = "7", default = "-1")]
    pub sparse: Option<i32>,
    /// What xavier and msra divide by.
    #[prost(enumeration = "VarianceNorm", optional, tag = "8")]
    pub variance_norm: Option<i32>,
}

impl FillerParameter {
    /// The kinds that Caffe knows; another one aborts it.
    pub const KINDS: [&'static str; 7] =
        ["constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear"];
}
