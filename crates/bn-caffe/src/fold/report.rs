//! What was folded, what was not, and why.

use std::fmt;

/// What became of one BatchNorm and the layers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The layers that are one affine map: a BatchNorm, then Scale, Bias and perhaps more of them.
    pub layers: Vec<String>,
    /// Where the map went.
    pub outcome: Outcome,
}

/// Where an affine map went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Into the layer before.
    Before {
        /// The layer that has it now.
        layer: String,
        /// The type of that layer.
        kind: String,
        /// Whether that layer had no bias and has one now.
        bias_added: bool,
    },
    /// Into the layer after.
    After {
        /// The layer that has it now.
        layer: String,
        /// The type of that layer.
        kind: String,
        /// Whether that layer had no bias and has one now.
        bias_added: bool,
        /// Why not into the one before.
        not_before: Reason,
    },
    /// Into one Scale layer, in the place and by the name of the BatchNorm.
    Scale {
        /// The layer.
        layer: String,
        /// Why not into the layer before.
        not_before: Reason,
        /// Why not into the layer after.
        not_after: Reason,
    },
    /// Nowhere: the layers are as they were.
    Left {
        /// Why.
        reason: Reason,
    },
}

/// Why something cannot be folded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No affine map: the statistics are the batch's.
    #[error("use_global_stats: false, so it is no fixed map")]
    BatchStatistics,
    /// Connected in a way that Caffe refuses.
    #[error("it has not one bottom and one top")]
    Connections,
    /// Nothing to fold with.
    #[error("\"{layer}\" has no weights in the file")]
    NoWeights {
        /// The layer.
        layer: String,
    },
    /// Weights are matched by name.
    #[error("several layers are named \"{layer}\", and weights are matched by name")]
    SameName {
        /// The name.
        layer: String,
    },
    /// Another layer has the same blobs by `param { name }`, and depends on those of this one.
    #[error("\"{layer}\" shares its blobs with \"{with}\", whose own in the file are not the same")]
    SharedValues {
        /// The layer of the map.
        layer: String,
        /// The other layer.
        with: String,
    },
    /// Another layer has the same weights by `param { name }`.
    #[error("\"{layer}\" shares its weights with \"{with}\"")]
    SharedWeights {
        /// The layer that would take the map.
        layer: String,
        /// The other layer.
        with: String,
    },
    /// Values between the layers are used elsewhere.
    #[error("blob \"{blob}\" is also read by {}", quoted(readers))]
    OtherReaders {
        /// The blob.
        blob: String,
        /// Those that read it.
        readers: Vec<String>,
    },
    /// A layer of another phase reads a blob that would be gone.
    #[error("blob \"{blob}\" is read by \"{layer}\" in another phase")]
    OtherPhase {
        /// The blob.
        blob: String,
        /// Its reader.
        layer: String,
    },
    /// The map's input is no layer's output, or its output no layer's input.
    #[error("there is none")]
    Nothing,
    /// A layer without weights, or of a type that is not known.
    #[error("\"{layer}\" ({kind}) cannot take it")]
    Kind {
        /// The layer.
        layer: String,
        /// Its type.
        kind: String,
    },
    /// One set of weights for several inputs.
    #[error("\"{layer}\" has several bottoms or tops")]
    SeveralBlobs {
        /// The layer.
        layer: String,
    },
    /// Channels on another axis than 1.
    #[error("\"{layer}\" has axis {axis}, expected 1")]
    Axis {
        /// The layer.
        layer: String,
        /// Its axis.
        axis: i32,
    },
    /// Blobs that do not fit each other.
    #[error("\"{layer}\" has {found} channels, expected {expected}")]
    Channels {
        /// The layer.
        layer: String,
        /// What its blobs say.
        found: usize,
        /// What the map says.
        expected: usize,
    },
    /// Blobs of a shape that the settings do not have.
    #[error("the blobs of \"{layer}\" have not the shapes of its settings")]
    Shape {
        /// The layer.
        layer: String,
    },
    /// The shift would have to be added to zeros of the border, too.
    #[error("\"{layer}\" pads with zeros, and the shift is not 0")]
    Padding {
        /// The layer.
        layer: String,
    },
    /// Outputs of a deconvolution are sums of different numbers of inputs.
    #[error("\"{layer}\" sums unequal numbers of inputs, and the shift is not 0")]
    UnequalSums {
        /// The layer.
        layer: String,
    },
    /// The name of the map's input means other values where the next layer reads.
    #[error("blob \"{blob}\" is overwritten before \"{layer}\" reads it")]
    Overwritten {
        /// The blob.
        blob: String,
        /// The layer after.
        layer: String,
    },
    /// A root of a negative variance, or a product beyond the precision of the file.
    #[error("the result is not finite{}", channel.map_or(String::new(), |c| format!(" in channel {c}")))]
    NotFinite {
        /// The first channel of the map where that is known.
        channel: Option<usize>,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

impl Decision {
    /// Whether the BatchNorm is gone.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        !matches!(self.outcome, Outcome::Left { .. })
    }
}

/// One line.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layers.join(" + "))?;
        let bias = |added: bool| if added { ", bias_term added" } else { "" };
        match &self.outcome {
            Outcome::Before { layer, kind, bias_added } => {
                write!(f, " → {layer} ({kind} before it{})", bias(*bias_added))
            }
            Outcome::After { layer, kind, bias_added, not_before } => {
                write!(f, " → {layer} ({kind} after it{})", bias(*bias_added))?;
                write!(f, "; layer before: {not_before}")
            }
            Outcome::Scale { layer, not_before, not_after } => {
                write!(f, " → {layer} (one Scale); layer before: {not_before}")?;
                write!(f, "; layer after: {not_after}")
            }
            Outcome::Left { reason } => write!(f, ": left as it was: {reason}"),
        }
    }
}
