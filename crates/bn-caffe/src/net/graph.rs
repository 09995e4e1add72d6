//! Who produces and who reads each blob.
//!
//! A name may stand for several blobs in turn: a layer that works in place reads one and produces
//! the next of the same name. Each of them is a [`BlobValue`] of its own, so that "the output of this
//! BatchNorm" means the values before the Scale that overwrites them.

use std::collections::HashMap;

use super::Net;

/// Index of a [`BlobValue`] in its [`Graph`].
pub type ValueId = usize;

/// What one top holds until it is overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobValue {
    /// Name of the blob.
    pub name: String,
    /// Layer and index of the top; none for a blob that no layer before its readers produces.
    pub producer: Option<(usize, usize)>,
    /// Layers that read it and index of the bottom, in order.
    pub readers: Vec<(usize, usize)>,
}

/// The connections of a net.
///
/// ```
/// use bn_caffe::net::{Net, graph::Graph};
/// let net = Net::parse(r#"
///     layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }
///     layer { name: "sc" type: "Scale" bottom: "y" top: "y" }
///     layer { name: "relu" type: "ReLU" bottom: "y" top: "z" }
/// "#)?;
/// let graph = Graph::of(&net);
/// // "y" before the Scale is read by the Scale alone, "y" after it by the ReLU.
/// assert_eq!(graph.values[graph.tops[0][0]].readers, [(1, 0)]);
/// assert_eq!(graph.values[graph.tops[1][0]].readers, [(2, 0)]);
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// All values.
    pub values: Vec<BlobValue>,
    /// For each layer the values that its bottoms read.
    pub bottoms: Vec<Vec<ValueId>>,
    /// For each layer the values that its tops produce.
    pub tops: Vec<Vec<ValueId>>,
}

impl Graph {
    /// Follows the blobs through a net; filter it by state before.
    ///
    /// An unknown bottom becomes a value without producer; [`check::net`](super::check::net) refuses
    /// such a net.
    #[must_use]
    pub fn of(net: &Net) -> Self {
        let mut graph = Self::default();
        let mut current: HashMap<&str, ValueId> = HashMap::new();
        for (layer_index, layer) in net.layers.iter().enumerate() {
            let mut bottoms = Vec::with_capacity(layer.bottoms().len());
            for (index, name) in layer.bottoms().iter().enumerate() {
                let value = *current.entry(name).or_insert_with(|| graph.add(name, None));
                graph.values[value].readers.push((layer_index, index));
                bottoms.push(value);
            }
            let mut tops = Vec::with_capacity(layer.tops().len());
            for (index, name) in layer.tops().iter().enumerate() {
                let value = graph.add(name, Some((layer_index, index)));
                current.insert(name, value);
                tops.push(value);
            }
            graph.bottoms.push(bottoms);
            graph.tops.push(tops);
        }
        graph
    }

    fn add(&mut self, name: &str, producer: Option<(usize, usize)>) -> ValueId {
        self.values.push(BlobValue { name: name.to_owned(), producer, readers: Vec::new() });
        self.values.len() - 1
    }

    /// Whether the layer overwrites its first bottom.
    #[must_use]
    pub fn is_in_place(&self, layer: usize) -> bool {
        match (self.bottoms[layer].first(), self.tops[layer].first()) {
            (Some(&b), Some(&t)) => self.values[b].name == self.values[t].name,
            _ => false,
        }
    }

    /// The layers that read the first output of a layer, and the index of the bottom.
    #[must_use]
    pub fn readers(&self, layer: usize) -> &[(usize, usize)] {
        self.tops[layer].first().map_or(&[], |&value| &self.values[value].readers)
    }
}
