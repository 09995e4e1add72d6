//! BatchNorm with its Scale and Bias under PyTorch's names, and the way back.
//!
//! | Caffe | here, behind `<name of the BatchNorm>.` |
//! |---|---|
//! | Scale's factor | `weight`; absent without a Scale |
//! | Scale's bias, or a Bias layer's | `bias`; zeros for a Scale without one, absent without either |
//! | blob 0 × s | `running_mean` |
//! | blob 1 × s (unbiased, as PyTorch's) | `running_var` |
//! | eps | in the file's metadata, in full: the float that Caffe computes with |
//!
//! with s = 1/blob 2, or 0 where that is 0, in the precision of the file: these are the very values
//! that Caffe normalises by. [`import`] writes statistics with a factor of 1, so what was exported
//! comes back to the bit; a layer whose tensors have not changed is not touched at all, and keeps its
//! sums.
//!
//! ```
//! use bn_caffe::blob::{Blob, Shape};
//! use bn_caffe::exchange::{export, import};
//! use bn_caffe::net::Net;
//! use bn_caffe::weights::{Caffemodel, WeightLayer};
//!
//! let net = Net::parse("layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }")?;
//! let one = |v| Blob::from_f32(Shape::new([1])?, &[v]);
//! let mut weights = Caffemodel::default();
//! weights.push(WeightLayer::new("bn", "BatchNorm", &[one(10.0)?, one(4.0)?, one(2.0)?]));
//!
//! let file = export(&net, &weights)?;
//! assert_eq!(file.layers[0].running_mean, [5.0]);
//! let back = import(&net, &weights, &file.to_safetensors()?)?;
//! assert!(back.changed.is_empty());
//! assert_eq!(back.weights.to_bytes(), weights.to_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod export;
mod import;

pub use export::{Export, Exported, export};
pub use import::{Import, import};

use crate::blob::{Blob, Element};
use crate::error::{Error, Result};
use crate::net::graph::Graph;
use crate::net::pairing::Pairing;
use crate::net::{Layer, Net};
use crate::proto::schema::Phase;

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const RUNNING_MEAN: &str = "running_mean";
const RUNNING_VAR: &str = "running_var";

/// A BatchNorm and the layers that hold its gamma and beta.
struct Group<'a> {
    batch_norm: &'a Layer,
    /// The Scale of one factor for each channel.
    scale: Option<&'a Layer>,
    /// The layer whose last blob is the bias: the Scale, or a Bias behind a Scale without one.
    bias: Option<&'a Layer>,
}

/// The groups of a net's phase TEST.
fn groups(net: &Net) -> Vec<Group<'_>> {
    let per_channel = |layer: &&Layer| match layer.type_name() {
        "Scale" => (layer.scale().axis(), layer.scale().num_axes()) == (1, 1),
        _ => (layer.bias().axis(), layer.bias().num_axes()) == (1, 1),
    };
    let pairings = Pairing::all(net, &Graph::of(net));
    let groups = pairings.into_iter().map(|pair| {
        let scale = pair.scale.map(|index| &net.layers[index]);
        let bias = pair.bias.map(|index| &net.layers[index]).filter(per_channel);
        let has_bias = scale.is_some_and(|scale| scale.scale().bias_term());
        // A Bias behind a Scale of other axes belongs to what that Scale gives.
        let bias = if scale.is_some_and(|scale| !per_channel(&scale)) { None } else { bias };
        let scale = scale.filter(per_channel);
        Group {
            batch_norm: &net.layers[pair.batch_norm],
            scale,
            bias: if has_bias { scale } else { bias },
        }
    });
    groups.collect()
}

/// The layers of phase TEST.
fn test_net(net: &Net) -> Result<Net> {
    net.for_phase(Phase::Test)
}

/// Statistics as Caffe normalises by them: sums times the rounded reciprocal.
fn divided(sums: &Blob, factor: &Blob) -> Vec<f64> {
    let factor = factor.values().next().unwrap_or(0.0);
    if sums.element() == Element::F64 {
        let scale = if factor == 0.0 { 0.0 } else { 1.0 / factor };
        return sums.values().map(|sum| sum * scale).collect();
    }
    let scale = if factor == 0.0 { 0.0 } else { 1.0 / factor as f32 };
    sums.to_f32().into_iter().map(|sum| f64::from(sum * scale)).collect()
}

fn wrong(
    layer: &Layer,
    what: &str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> Error {
    Error::layer(layer.name(), layer.type_name(), what, found, expected)
}
