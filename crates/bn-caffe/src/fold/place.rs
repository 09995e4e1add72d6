//! The layers beside a chain, and whether they can take its map.

use std::collections::HashMap;

use super::affine::Affine;
use super::chain::{Chain, is_connected, is_fixed};
use super::kernel::Kernel;
use super::report::Reason;
use super::rewrite::Rewrite;
use super::store::Store;
use crate::blob::{Blob, Shape};
use crate::error::Result;
use crate::net::Net;
use crate::net::graph::Graph;

/// The net in which places are looked for.
pub(super) struct Sites<'a> {
    pub net: &'a Net,
    pub graph: &'a Graph,
    pub store: &'a Store<'a>,
    /// How many layers of all phases have each name.
    names: HashMap<&'a str, usize>,
    /// Blobs that layers of other phases read, and one that does.
    elsewhere: HashMap<&'a str, &'a str>,
}

/// A layer with its new blobs.
pub(super) struct Merge {
    pub layer: usize,
    pub blobs: Vec<Blob>,
    pub bias_added: bool,
}

impl<'a> Sites<'a> {
    /// `whole` has the layers of all phases, `net` those of TEST.
    pub(super) fn new(
        whole: &'a Net,
        net: &'a Net,
        graph: &'a Graph,
        store: &'a Store<'a>,
    ) -> Self {
        let mut names = HashMap::new();
        for layer in &whole.layers {
            *names.entry(layer.name()).or_insert(0) += 1;
        }
        // The layers of the phase are a part of all, in the same order.
        let mut chosen = net.layers.iter().peekable();
        let mut elsewhere = HashMap::new();
        for layer in &whole.layers {
            if chosen.peek().is_some_and(|next| *next == layer) {
                chosen.next();
                continue;
            }
            for bottom in layer.bottoms() {
                elsewhere.insert(bottom.as_str(), layer.name());
            }
        }
        Self { net, graph, store, names, elsewhere }
    }

    fn name(&self, layer: usize) -> String {
        self.net.layers[layer].name().to_owned()
    }

    /// Why the layers of a chain cannot go, wherever the map goes.
    pub(super) fn obstacle(&self, chain: &Chain) -> Result<Option<Reason>> {
        let first = &self.net.layers[chain.layers[0]];
        if !is_connected(first) {
            return Ok(Some(Reason::Connections));
        }
        if !is_fixed(first) {
            return Ok(Some(Reason::BatchStatistics));
        }
        for &layer in &chain.layers {
            if let Some(reason) = self.ambiguous(layer) {
                return Ok(Some(reason));
            }
            let mut blobs = None;
            for (blob, (other, index)) in self.store.others(layer) {
                if blobs.is_none() {
                    blobs = Some(self.store.blobs(layer)?);
                }
                let mine = blobs.as_ref().and_then(|blobs| blobs.get(blob)).map(Blob::to_f64);
                let theirs = self.store.own(other)?;
                if mine != theirs.get(index).map(Blob::to_f64) {
                    let (layer, with) = (self.name(layer), self.name(other));
                    return Ok(Some(Reason::SharedValues { layer, with }));
                }
            }
        }
        let last = &self.graph.values[chain.output].name;
        let between =
            chain.layers.iter().map(|&layer| &self.graph.values[self.graph.tops[layer][0]].name);
        Ok(between.filter(|name| *name != last).find_map(|name| self.other_phase(name)))
    }

    fn ambiguous(&self, layer: usize) -> Option<Reason> {
        let name = self.net.layers[layer].name();
        let many = self.names.get(name).is_some_and(|&count| count > 1);
        many.then(|| Reason::SameName { layer: name.to_owned() })
    }

    fn other_phase(&self, blob: &str) -> Option<Reason> {
        let layer = (*self.elsewhere.get(blob)?).to_owned();
        Some(Reason::OtherPhase { blob: blob.to_owned(), layer })
    }

    /// Readers of a value other than one layer.
    fn other_readers(&self, value: usize, but: usize) -> Option<Reason> {
        let value = &self.graph.values[value];
        let others = value.readers.iter().filter(|(layer, _)| *layer != but);
        let readers: Vec<_> = others.map(|&(layer, _)| self.name(layer)).collect();
        let blob = value.name.clone();
        (!readers.is_empty()).then_some(Reason::OtherReaders { blob, readers })
    }

    /// The weights of a layer that is to take the map, and how they are arranged.
    fn kernel(
        &self,
        layer: usize,
        rewrite: &Rewrite<'_>,
    ) -> Result<Result<(Kernel, Vec<Blob>), Reason>> {
        let found = &self.net.layers[layer];
        let name = || self.name(layer);
        if !matches!(found.type_name(), "Convolution" | "Deconvolution" | "InnerProduct") {
            let kind = found.type_name().to_owned();
            return Ok(Err(Reason::Kind { layer: name(), kind }));
        }
        if !is_connected(found) {
            return Ok(Err(Reason::SeveralBlobs { layer: name() }));
        }
        if let Some(reason) = self.ambiguous(layer) {
            return Ok(Err(reason));
        }
        if let Some((_, (other, _))) = self.store.others(layer).next() {
            return Ok(Err(Reason::SharedWeights { layer: name(), with: self.name(other) }));
        }
        let blobs = rewrite.blobs(found.name())?;
        let Some(weights) = blobs.first() else {
            return Ok(Err(Reason::NoWeights { layer: name() }));
        };
        let kernel = match Kernel::of(found, weights) {
            Ok(kernel) => kernel,
            Err(reason) => return Ok(Err(reason)),
        };
        if blobs.get(1).is_some_and(|bias| bias.len() != kernel.outputs) {
            return Ok(Err(Reason::Shape { layer: name() }));
        }
        Ok(Ok((kernel, blobs)))
    }

    /// The name of a value still stands for it where a later layer reads.
    fn is_current(&self, value: usize, reader: usize) -> bool {
        let name = &self.graph.values[value].name;
        let tops = self.graph.tops[..reader].iter().rev().flatten();
        let mut current = tops.filter(|top| &self.graph.values[**top].name == name);
        match self.graph.values[value].producer {
            Some(_) => current.next() == Some(&value),
            None => current.next().is_none(),
        }
    }
}

/// The map merged into the layer before: every value of an output times a, the bias a·c + b.
pub(super) fn before(
    sites: &Sites<'_>,
    chain: &Chain,
    affine: &Affine,
    rewrite: &Rewrite<'_>,
) -> Result<Result<Merge, Reason>> {
    let Some((layer, _)) = sites.graph.values[chain.input].producer else {
        return Ok(Err(Reason::Nothing));
    };
    let (kernel, blobs) = match sites.kernel(layer, rewrite)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let input = &sites.graph.values[chain.input].name;
    let gone = input != &sites.graph.values[chain.output].name;
    let reason = sites
        .other_readers(chain.input, chain.layers[0])
        .or_else(|| gone.then(|| sites.other_phase(input)).flatten());
    if let Some(reason) = reason {
        return Ok(Err(reason));
    }
    let channels = affine.a.len();
    if kernel.outputs != channels {
        let (layer, found) = (sites.name(layer), kernel.outputs);
        return Ok(Err(Reason::Channels { layer, found, expected: channels }));
    }
    let mut weights = blobs[0].to_f64();
    for (index, value) in weights.iter_mut().enumerate() {
        *value *= affine.a[kernel.output(index)];
    }
    let mut bias = blobs.get(1).map_or_else(|| vec![0.0; channels], Blob::to_f64);
    for (c, value) in bias.iter_mut().enumerate() {
        *value = *value * affine.a[c] + affine.b[c];
    }
    Ok(merge(layer, &blobs, &weights, Some(&bias)))
}

/// The map merged into the layer after: every value of an input times a, the bias plus Σ W·b.
pub(super) fn after(
    sites: &Sites<'_>,
    chain: &Chain,
    affine: &Affine,
    rewrite: &Rewrite<'_>,
) -> Result<Result<Merge, Reason>> {
    let Some(&(layer, _)) = sites.graph.values[chain.output].readers.first() else {
        return Ok(Err(Reason::Nothing));
    };
    if let Some(reason) = sites.other_readers(chain.output, layer) {
        return Ok(Err(reason));
    }
    let (kernel, blobs) = match sites.kernel(layer, rewrite)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let (input, output) = (&sites.graph.values[chain.input], &sites.graph.values[chain.output]);
    if input.name != output.name
        && let Some(reason) = sites.other_phase(&output.name)
    {
        return Ok(Err(reason));
    }
    // Without the chain, another of the same name may have come between; the chain's own do not.
    let in_place = chain
        .layers
        .iter()
        .any(|&layer| sites.graph.values[sites.graph.tops[layer][0]].name == input.name);
    if !in_place && !sites.is_current(chain.input, layer) {
        let (blob, layer) = (input.name.clone(), sites.name(layer));
        return Ok(Err(Reason::Overwritten { blob, layer }));
    }
    let channels = affine.a.len();
    if let Err(found) = kernel.takes(channels) {
        let layer = sites.name(layer);
        return Ok(Err(Reason::Channels { layer, found, expected: channels }));
    }
    let shifts = !affine.has_no_shift();
    if shifts && let Err(reason) = kernel.sums_equally(&sites.net.layers[layer]) {
        return Ok(Err(reason));
    }
    let mut weights = blobs[0].to_f64();
    let mut bias = blobs.get(1).map_or_else(|| vec![0.0; kernel.outputs], Blob::to_f64);
    for (index, value) in weights.iter_mut().enumerate() {
        let channel = kernel.input(index, channels);
        bias[kernel.output(index)] += *value * affine.b[channel];
        *value *= affine.a[channel];
    }
    let needed = shifts || blobs.len() > 1;
    Ok(merge(layer, &blobs, &weights, needed.then_some(&bias)))
}

/// Rounds new values to the precision of the file.
fn merge(
    layer: usize,
    old: &[Blob],
    weights: &[f64],
    bias: Option<&[f64]>,
) -> Result<Merge, Reason> {
    let not_finite = || Reason::NotFinite { channel: None };
    let rounded = |shape: &Shape, values: &[f64]| {
        let blob = Blob::rounded(shape.clone(), old[0].element(), values).ok().flatten();
        blob.ok_or_else(not_finite)
    };
    let mut blobs = vec![rounded(old[0].shape(), weights)?];
    if let Some(bias) = bias {
        let shape = match old.get(1) {
            Some(old) => old.shape().clone(),
            None => Shape::new([bias.len()]).map_err(|_| not_finite())?,
        };
        blobs.push(rounded(&shape, bias)?);
    }
    Ok(Merge { layer, bias_added: blobs.len() > old.len(), blobs })
}
