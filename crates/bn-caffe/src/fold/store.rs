//! Blobs by layer of the net, as Caffe would hold them after loading.

use std::collections::HashMap;

use crate::blob::Blob;
use crate::error::Result;
use crate::net::Net;
use crate::weights::Caffemodel;

/// The weights of a net.
#[derive(Debug)]
pub(super) struct Store<'a> {
    net: &'a Net,
    weights: &'a Caffemodel,
    /// Place of each named layer in the file; the last where several have the name.
    places: HashMap<&'a str, usize>,
    /// Layers and blobs by the name of their `param`, where more than one have it.
    sharers: HashMap<&'a str, Vec<(usize, usize)>>,
}

impl<'a> Store<'a> {
    pub(super) fn new(net: &'a Net, weights: &'a Caffemodel) -> Self {
        let places = weights.layers().enumerate().map(|(n, layer)| (layer.name(), n)).collect();
        let mut sharers: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        for (index, layer) in net.layers.iter().enumerate() {
            for (blob, spec) in layer.parameter.param.iter().enumerate() {
                match spec.name.as_deref() {
                    None | Some("") => {}
                    Some(name) => sharers.entry(name).or_default().push((index, blob)),
                }
            }
        }
        sharers.retain(|_, sharers| sharers.len() > 1);
        Self { net, weights, places, sharers }
    }

    /// The other layers and blobs that are the same as a blob of this layer.
    pub(super) fn others(&self, layer: usize) -> impl Iterator<Item = (usize, (usize, usize))> {
        let specs = self.net.layers[layer].parameter.param.iter().enumerate();
        specs.flat_map(move |(blob, spec)| {
            let sharers = self.sharers.get(spec.name()).map_or(&[][..], Vec::as_slice);
            let others = sharers.iter().filter(move |other| **other != (layer, blob));
            others.map(move |&other| (blob, other))
        })
    }

    /// What the file holds under a layer's name; empty where it has nothing.
    pub(super) fn own(&self, layer: usize) -> Result<Vec<Blob>> {
        match self.weights.layer(self.net.layers[layer].name()) {
            Some(stored) => stored.blobs(),
            None => Ok(Vec::new()),
        }
    }

    /// The blobs of a layer. Of a shared blob the last copy in the file counts: each that is loaded
    /// overwrites the one before.
    pub(super) fn blobs(&self, layer: usize) -> Result<Vec<Blob>> {
        let mut blobs = self.own(layer)?;
        let place = |layer: usize| self.places.get(self.net.layers[layer].name()).copied();
        let mut latest: Vec<Option<usize>> = vec![place(layer); blobs.len()];
        for (blob, (other, index)) in self.others(layer) {
            if blob >= blobs.len() || place(other) <= latest[blob] {
                continue;
            }
            if let Some(value) = self.own(other)?.into_iter().nth(index) {
                blobs[blob] = value;
                latest[blob] = place(other);
            }
        }
        Ok(blobs)
    }
}
