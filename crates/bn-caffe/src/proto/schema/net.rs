//! What a net says above its layers.

use super::BlobShape;

/// What a net is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Phase {
    /// Training: the batch's statistics normalise unless a layer says otherwise.
    Train = 0,
    /// Inference: the stored statistics normalise unless a layer says otherwise.
    Test = 1,
}

/// Phase, level and stages of a net, by which layers are included.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetState {
    /// The phase; TEST where absent.
    #[prost(enumeration = "Phase", optional, tag = "1", default = "Test")]
    pub phase: Option<i32>,
    /// The level.
    #[prost(int32, optional, tag = "2", default = "0")]
    pub level: Option<i32>,
    /// The stages.
    #[prost(string, repeated, tag = "3")]
    pub stage: Vec<String>,
}

/// A condition on the state of a net. All parts that are present must hold.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetStateRule {
    /// The net has this phase.
    #[prost(enumeration = "Phase", optional, tag = "1")]
    pub phase: Option<i32>,
    /// The net's level is at least this.
    #[prost(int32, optional, tag = "2")]
    pub min_level: Option<i32>,
    /// The net's level is at most this.
    #[prost(int32, optional, tag = "3")]
    pub max_level: Option<i32>,
    /// The net has all these stages.
    #[prost(string, repeated, tag = "4")]
    pub stage: Vec<String>,
    /// The net has none of these stages.
    #[prost(string, repeated, tag = "5")]
    pub not_stage: Vec<String>,
}

/// A net without its layers.
///
/// The layers (field 100, and field 2 in the old form) are walked one by one instead of decoded
/// here: that bounds memory and keeps what no schema knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetParameter {
    /// Name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Old form of Input layers: names of the blobs.
    #[prost(string, repeated, tag = "3")]
    pub input: Vec<String>,
    /// Old form of Input layers: four dimensions for each blob.
    #[prost(int32, repeated, packed = "false", tag = "4")]
    pub input_dim: Vec<i32>,
    /// Whether gradients are computed for every layer.
    #[prost(bool, optional, tag = "5", default = "false")]
    pub force_backward: Option<bool>,
    /// The state the net is meant for.
    #[prost(message, optional, tag = "6")]
    pub state: Option<NetState>,
    /// Whether Caffe logs debugging information.
    #[prost(bool, optional, tag = "7", default = "false")]
    pub debug_info: Option<bool>,
    /// Old form of Input layers: one shape for each blob.
    #[prost(message, repeated, tag = "8")]
    pub input_shape: Vec<BlobShape>,
}

impl NetParameter {
    /// Field number of a layer.
    pub const LAYER: u32 = 100;
    /// Field number of a layer of the old form.
    pub const V1_LAYER: u32 = 2;

    /// Numbers of the fields above.
    pub(crate) fn is_setting(number: u32) -> bool {
        matches!(number, 1 | 3..=8)
    }
}
