//! What a net's BatchNorm, Scale and Bias layers hold, and what looks wrong about them.
//!
//! [`inspect`] gathers data; showing them is the caller's. It never refuses a net for what it says:
//! what Caffe would refuse, and what it accepts but nobody can have meant, become
//! [`Warning`]s.

mod gather;
mod statistics;
mod warning;

pub use gather::inspect;
pub use statistics::{Range, Statistics};
pub use warning::{Dialect, Warning};

use crate::blob::Element;
use crate::proto::schema::Phase;

/// Everything found in a net.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// Name of the net.
    pub net: String,
    /// The phase for which layers and statistics were chosen.
    pub phase: Phase,
    /// The layers of that phase, in order.
    pub layers: Vec<LayerReport>,
    /// What concerns the net as a whole.
    pub warnings: Vec<Warning>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// Name.
    pub name: String,
    /// Type string.
    pub type_name: String,
    /// Names of the inputs.
    pub bottoms: Vec<String>,
    /// Names of the outputs.
    pub tops: Vec<String>,
    /// Blobs of the weight file.
    pub blobs: Vec<BlobReport>,
    /// What is special to the type.
    pub detail: Detail,
    /// What looks wrong.
    pub warnings: Vec<Warning>,
}

/// One blob of the weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobReport {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Whether they are given in the legacy form.
    pub legacy: bool,
    /// Precision in the file.
    pub element: Element,
}

/// What is special to the type of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// BatchNorm.
    BatchNorm(BatchNormReport),
    /// Scale.
    Scale(ScaleReport),
    /// Bias.
    Bias(ScaleReport),
    /// Any other type.
    Other,
}

/// A BatchNorm layer.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormReport {
    /// Number of channels, from the weights.
    pub channels: Option<usize>,
    /// The value added to the variance.
    pub eps: f32,
    /// What remains of the stored sums at each update.
    pub fraction: f32,
    /// `use_global_stats` as the net says it.
    pub use_global_stats: Option<bool>,
    /// Whether the stored statistics normalise in the inspected phase.
    pub uses_global_stats: bool,
    /// What the weights hold.
    pub statistics: Option<Statistics>,
    /// The Scale that belongs to the layer.
    pub scale: Option<String>,
    /// The Bias that belongs to the layer.
    pub bias: Option<String>,
    /// Whether the layer overwrites its input.
    pub in_place: bool,
    /// Other layers that read the normalised values.
    pub other_readers: Vec<String>,
}

/// A Scale or Bias layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleReport {
    /// First covered axis.
    pub axis: i32,
    /// Number of covered axes.
    pub num_axes: i32,
    /// Whether a Scale adds a bias; true for Bias.
    pub bias_term: bool,
    /// Whether the parameter is a second input instead of a blob.
    pub two_bottoms: bool,
    /// Range of the factor.
    pub factor: Option<Range>,
    /// Range of the bias.
    pub bias: Option<Range>,
    /// The BatchNorm that the layer completes.
    pub batch_norm: Option<String>,
}
