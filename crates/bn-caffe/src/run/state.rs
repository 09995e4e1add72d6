//! The blobs of layers: loaded, shared by name, written back.

use std::collections::HashMap;

use super::operation::Operation;
use crate::blob::Blob;
use crate::error::{Error, Result};
use crate::layer::{Learned, Param, Real, Statistics};
use crate::net::{Layer, Net};
use crate::weights::{Caffemodel, WeightLayer};

/// Blobs by slot; a layer's slot is its own index, or that of the first layer that shares with it.
#[derive(Debug)]
pub(super) struct State<T> {
    pub statistics: Vec<Statistics<T>>,
    pub learned: Vec<Learned<T>>,
    /// The slot of each layer.
    pub slots: Vec<usize>,
}

impl<T: Real> State<T> {
    /// Fills every blob, then loads the file in its order: of a shared blob the last copy counts.
    pub(super) fn new(
        net: &Net,
        operations: &[Operation<'_, T>],
        weights: &Caffemodel,
    ) -> Result<Self> {
        let count = net.layers.len();
        let mut state = Self {
            statistics: vec![Statistics::default(); count],
            learned: vec![Learned::default(); count],
            slots: slots(net)?,
        };
        for (index, operation) in operations.iter().enumerate() {
            let parameter = &net.layers[index].parameter;
            let slot = state.slots[index];
            let owner = slot == index;
            match operation {
                Operation::BatchNorm(layer) if owner => {
                    state.statistics[slot] = layer.initial(parameter)?;
                }
                Operation::Scale(layer) if owner => state.learned[slot] = layer.initial()?,
                Operation::Pair { pair, scale } => {
                    if owner {
                        state.statistics[slot] = pair.batch_norm().initial(parameter)?;
                    }
                    let slot = state.slots[*scale];
                    if slot == *scale {
                        state.learned[slot] = pair.scale().initial()?;
                    }
                }
                _ => {}
            }
        }
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (index, layer) in net.layers.iter().enumerate() {
            first.entry(layer.name()).or_insert(index);
        }
        for stored in weights.layers() {
            if let Some(&index) = first.get(stored.name()) {
                state.load(&net.layers[index], index, &operations[index], stored)?;
            }
        }
        Ok(state)
    }

    fn load(
        &mut self,
        layer: &Layer,
        index: usize,
        operation: &Operation<'_, T>,
        stored: &WeightLayer,
    ) -> Result<()> {
        let slot = self.slots[index];
        if operation.has_statistics() {
            let blobs = stored.blobs()?;
            let mine = &self.statistics[slot];
            let shapes =
                [&mine.mean, &mine.variance, &mine.factor].map(|values| vec![values.len()]);
            compare(layer, &blobs, &shapes)?;
            self.statistics[slot] = Statistics::from_blobs(&blobs);
        } else if operation.has_learned() {
            let blobs = stored.blobs()?;
            let learned = &mut self.learned[slot];
            let shapes: Vec<_> = learned.params().map(|param| param.shape.clone()).collect();
            compare(layer, &blobs, &shapes)?;
            let params = learned.factor.iter_mut().chain(&mut learned.bias);
            for ((param, blob), shape) in params.zip(&blobs).zip(shapes) {
                *param = Param { shape, ..Param::from_blob(blob) };
            }
        }
        Ok(())
    }

    /// The weights with these blobs.
    pub(super) fn write(
        &self,
        net: &Net,
        operations: &[Operation<'_, T>],
        source: &Caffemodel,
    ) -> Result<Caffemodel> {
        let mut weights = source.clone();
        for (index, layer) in net.layers.iter().enumerate() {
            let slot = self.slots[index];
            let named =
                |(blob, problem)| Error::Blob { layer: layer.name().to_owned(), blob, problem };
            let blobs: Vec<Blob> = if operations[index].has_statistics() {
                self.statistics[slot].to_blobs().map_err(|problem| named((0, problem)))?
            } else if operations[index].has_learned() {
                let params = self.learned[slot].params().enumerate();
                let blobs = params.map(|(n, p)| p.to_blob().map_err(|problem| named((n, problem))));
                blobs.collect::<Result<_>>()?
            } else {
                continue;
            };
            match weights.layer_mut(layer.name()) {
                // What has not changed stays as it was written.
                Some(stored) => {
                    let same = |(old, new): (&Blob, &Blob)| old.values().eq(new.values());
                    if !stored.blobs()?.iter().zip(&blobs).all(same) {
                        stored.set_blobs(&blobs)?;
                    }
                }
                None => weights.push(WeightLayer::new(layer.name(), layer.type_name(), &blobs)),
            }
        }
        Ok(weights)
    }
}

/// Compares the shapes of stored blobs with those that the layer has.
fn compare(layer: &Layer, blobs: &[Blob], shapes: &[Vec<usize>]) -> Result<()> {
    if blobs.len() != shapes.len() {
        let (found, expected) = (blobs.len().to_string(), shapes.len().to_string());
        let (name, kind) = (layer.name(), layer.type_name());
        return Err(Error::layer(name, kind, "blobs in the weight file", found, expected));
    }
    for (n, (blob, shape)) in blobs.iter().zip(shapes).enumerate() {
        if !blob.shape().loads_into(shape) {
            return Err(Error::layer(
                layer.name(),
                layer.type_name(),
                format!("shape of blob {n} in the weight file"),
                format!("{:?}", blob.shape().dims()),
                format!("{shape:?}"),
            ));
        }
    }
    Ok(())
}

/// The slot of each layer: its own, or that of the first with the same names of `param`.
fn slots(net: &Net) -> Result<Vec<usize>> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let names = |layer: &'_ Layer| {
        let specs = layer.parameter.param.iter().enumerate();
        let named = specs.filter_map(|(n, spec)| Some((n, spec.name.clone()?)));
        named.filter(|(_, name)| !name.is_empty()).collect::<Vec<_>>()
    };
    for layer in &net.layers {
        for spec in &layer.parameter.param {
            if let Some(name) = spec.name.as_deref() {
                *uses.entry(name).or_insert(0) += 1;
            }
        }
    }
    let mut owners: HashMap<(usize, String), usize> = HashMap::new();
    // A name stands for the same blob of every layer that has it.
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut slots = Vec::with_capacity(net.layers.len());
    for (index, layer) in net.layers.iter().enumerate() {
        let shared: Vec<_> =
            names(layer).into_iter().filter(|(_, name)| uses[name.as_str()] > 1).collect();
        let owner = shared.first().and_then(|key| owners.get(key)).copied().unwrap_or(index);
        let blobs = layer.blob_count().unwrap_or(0);
        let all_or_none = shared.is_empty() || shared.len() == blobs;
        let same_kind = net.layers[owner].type_name() == layer.type_name()
            && shared.iter().all(|key| owners.get(key).copied().unwrap_or(index) == owner);
        let in_order =
            shared.iter().all(|(n, name)| positions.get(name).is_none_or(|place| place == n));
        if !all_or_none || !same_kind || !in_order {
            return Err(Error::layer(
                layer.name(),
                layer.type_name(),
                "param names",
                "some of another layer's blobs, or in another order",
                "none, or all blobs of a layer of this type in their order",
            ));
        }
        for key in shared {
            positions.insert(key.1.clone(), key.0);
            owners.entry(key).or_insert(index);
        }
        slots.push(owner);
    }
    Ok(slots)
}
