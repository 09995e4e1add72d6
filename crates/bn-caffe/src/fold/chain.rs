//! Which layers are one affine map.

use crate::net::graph::{Graph, ValueId};
use crate::net::{Layer, Net};
use crate::proto::schema::Phase;

/// Layers that follow each other, each the only reader of the one before.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// A BatchNorm, then layers that map each channel.
    pub layers: Vec<usize>,
    /// What the first reads.
    pub input: ValueId,
    /// What the last gives.
    pub output: ValueId,
}

/// The chain of every BatchNorm that is in none before it.
///
/// A BatchNorm that is not connected as it has to be is a chain of its own.
pub(super) fn all(net: &Net, graph: &Graph) -> Vec<Chain> {
    let mut taken = vec![false; net.layers.len()];
    let mut chains = Vec::new();
    for first in 0..net.layers.len() {
        if taken[first] || net.layers[first].type_name() != "BatchNorm" {
            continue;
        }
        let (Some(&input), Some(&output)) =
            (graph.bottoms[first].first(), graph.tops[first].first())
        else {
            continue;
        };
        let mut chain = Chain { layers: vec![first], input, output };
        if is_connected(&net.layers[first]) && is_fixed(&net.layers[first]) {
            while let [(next, 0)] = graph.values[chain.output].readers[..]
                && continues(&net.layers[next])
            {
                chain.layers.push(next);
                chain.output = graph.tops[next][0];
            }
        }
        chain.layers.iter().for_each(|&layer| taken[layer] = true);
        chains.push(chain);
    }
    chains
}

/// Whether a layer has one bottom and one top.
pub(super) fn is_connected(layer: &Layer) -> bool {
    layer.bottoms().len() == 1 && layer.tops().len() == 1
}

/// Whether stored statistics normalise.
pub(super) fn is_fixed(layer: &Layer) -> bool {
    layer.uses_global_stats(Phase::Test)
}

/// Whether a layer maps each channel by numbers of its own.
fn continues(layer: &Layer) -> bool {
    let axes = match layer.type_name() {
        "BatchNorm" => return is_connected(layer) && is_fixed(layer),
        "Scale" => (layer.scale().axis(), layer.scale().num_axes()),
        "Bias" => (layer.bias().axis(), layer.bias().num_axes()),
        _ => return false,
    };
    is_connected(layer) && axes == (1, 1)
}
