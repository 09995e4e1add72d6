//! Weight files: `.caffemodel`, and `.caffemodel.h5` with the feature `hdf5`.
//!
//! A [`Caffemodel`] is the file in memory plus the place of each layer in it. Blobs are slices of the
//! file; settings are decoded when asked for. What is not changed is written back byte for byte:
//! fields of forks, odd encodings, the order of everything.

pub mod hdf5;
mod layer;
mod parse;
mod write;

use prost::bytes::Bytes;

pub use layer::{Form, WeightLayer};

use crate::proto::schema::NetParameter;

/// A part of a weight file, in the file's order.
#[derive(Clone, Debug)]
enum Part {
    /// Fields above the layers, known or not, as they were.
    Other(Bytes),
    /// A layer.
    Layer(WeightLayer),
}

/// A weight file: layers with their blobs, and what stands above them.
///
/// ```
/// use bn_caffe::blob::{Blob, Shape};
/// use bn_caffe::weights::{Caffemodel, WeightLayer};
/// let mut model = Caffemodel::default();
/// let factor = Blob::from_f32(Shape::new([1])?, &[999.98])?;
/// model.push(WeightLayer::new("bn1", "BatchNorm", &[factor]));
/// let again = Caffemodel::parse(model.to_bytes())?;
/// assert_eq!(again.layer("bn1").unwrap().blob(0)?.to_f32(), [999.98]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Caffemodel {
    parts: Vec<Part>,
    net: NetParameter,
}

impl Caffemodel {
    /// What the file says above its layers.
    #[must_use]
    pub fn net(&self) -> &NetParameter {
        &self.net
    }

    /// The layers in the order of the file.
    pub fn layers(&self) -> impl Iterator<Item = &WeightLayer> {
        self.parts.iter().filter_map(|part| match part {
            Part::Layer(layer) => Some(layer),
            Part::Other(_) => None,
        })
    }

    /// The layers, to be changed.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut WeightLayer> {
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Layer(layer) => Some(layer),
            Part::Other(_) => None,
        })
    }

    /// The layer of a name. Where several have it, the last: Caffe loads them in order, and each
    /// overwrites the one before.
    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&WeightLayer> {
        self.layers().filter(|l| l.name() == name).last()
    }

    /// The layer of a name, to be changed.
    pub fn layer_mut(&mut self, name: &str) -> Option<&mut WeightLayer> {
        self.layers_mut().filter(|l| l.name() == name).last()
    }

    /// Adds a layer at the end.
    pub fn push(&mut self, layer: WeightLayer) {
        self.parts.push(Part::Layer(layer));
    }

    /// Adds a layer after the first one named `after`, or at the end where there is none.
    pub fn insert_after(&mut self, after: &str, layer: WeightLayer) {
        let place = self
            .parts
            .iter()
            .position(|part| matches!(part, Part::Layer(l) if l.name() == after))
            .map_or(self.parts.len(), |n| n + 1);
        self.parts.insert(place, Part::Layer(layer));
    }

    /// Removes every layer of a name; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.parts.len();
        self.parts.retain(|part| !matches!(part, Part::Layer(l) if l.name() == name));
        before - self.parts.len()
    }
}
