//! Which layer of a weight file belongs to which layer of a net.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::net::Net;
use crate::weights::{Caffemodel, WeightLayer};

/// Weights matched to a net by layer name.
///
/// ```
/// use bn_caffe::{bind::Binding, net::Net, weights::{Caffemodel, WeightLayer}};
/// let net = Net::parse("layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'x' }")?;
/// let mut weights = Caffemodel::default();
/// weights.push(WeightLayer::new("r", "", &[]));
/// weights.push(WeightLayer::new("loss", "", &[]));
/// let binding = Binding::new(&net, &weights)?;
/// assert_eq!(binding.layers[0].unwrap().name(), "r");
/// assert_eq!(binding.unused[0].name(), "loss");
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Binding<'a> {
    /// For each layer of the net its layer in the file.
    pub layers: Vec<Option<&'a WeightLayer>>,
    /// Layers of the file that the net has not; Caffe ignores them.
    pub unused: Vec<&'a WeightLayer>,
}

impl<'a> Binding<'a> {
    /// Matches by name alone, as Caffe does: types may be empty in the file. The first layer of a
    /// name in the net gets the last of that name in the file. Numbers of blobs are not compared.
    #[must_use]
    pub fn by_name(net: &Net, weights: &'a Caffemodel) -> Self {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (index, layer) in net.layers.iter().enumerate() {
            first.entry(layer.name()).or_insert(index);
        }
        let mut binding = Self { layers: vec![None; net.layers.len()], unused: Vec::new() };
        for layer in weights.layers() {
            match first.get(layer.name()) {
                Some(&index) => binding.layers[index] = Some(layer),
                None => binding.unused.push(layer),
            }
        }
        binding
    }

    /// Matches by name and compares the numbers of blobs.
    ///
    /// # Errors
    /// [`Error::Layer`] where the file has another number of blobs than the layer; types that this
    /// crate does not know are not compared.
    pub fn new(net: &Net, weights: &'a Caffemodel) -> Result<Self> {
        let binding = Self::by_name(net, weights);
        for (layer, found) in net.layers.iter().zip(&binding.layers) {
            let (Some(expected), Some(found)) = (layer.blob_count(), found) else {
                continue;
            };
            if found.blob_count() != expected {
                return Err(Error::layer(
                    layer.name(),
                    layer.type_name(),
                    "blobs in the weight file",
                    found.blob_count().to_string(),
                    expected.to_string(),
                ));
            }
        }
        Ok(binding)
    }
}
