//! A net: its layers after Caffe's upgrades, and what can be told from them without running it.
//!
//! - [`upgrade`]: old forms brought to today's;
//! - [`state`](Net::for_state): the layers that exist in a phase;
//! - [`check`]: what makes Caffe refuse a layer or net;
//! - [`geometry`]: which axes of an input BatchNorm, Scale and Bias work on;
//! - [`graph`]: who produces and who reads each blob;
//! - [`pairing`]: which Scale and Bias belong to which BatchNorm.

pub mod check;
pub mod geometry;
pub mod graph;
mod layer;
pub mod pairing;
mod state;
pub mod upgrade;

use std::path::Path;

pub use layer::Layer;

use crate::error::{Error, Result};
use crate::proto::schema::{LayerParameter, NetParameter, NetState, Phase};
use crate::text::Document;
use crate::text::read::{self, NetText, Unknown};
use crate::weights::Caffemodel;

/// A net, its layers in the order in which they run.
///
/// ```
/// use bn_caffe::net::Net;
/// let net = Net::parse(r#"
///     name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
///     layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
/// "#)?;
/// let types: Vec<_> = net.layers.iter().map(|l| l.type_name()).collect();
/// assert_eq!(types, ["Input", "BatchNorm"]);
/// # Ok::<(), bn_caffe::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Net {
    /// Name.
    pub name: String,
    /// Phase, level and stages that the net itself gives.
    pub state: NetState,
    /// Whether gradients are computed for every layer.
    pub force_backward: bool,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Fields of the text that BVLC Caffe does not have; [`check`] refuses them.
    pub unknown: Vec<Unknown>,
}

impl Net {
    /// Reads a net from the text of a `.prototxt`.
    ///
    /// # Errors
    /// [`Error::Text`]; [`Error::Net`] and [`Error::Layer`] where an old form cannot be upgraded.
    pub fn parse(text: impl Into<Vec<u8>>) -> Result<Self> {
        Self::from_document(&Document::parse(text)?)
    }

    /// Reads a net from a file.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Self::parse`] inside [`Error::InFile`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_document(&Document::read(path)?).map_err(|e| e.in_file(path))
    }

    /// Reads a net from a parsed text; [`Layer::field`] then leads back into it.
    ///
    /// Caffe ignores `layer` in a file that also has `layers`; here that is an error.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn from_document(document: &Document) -> Result<Self> {
        let NetText { net, layers, v1_layers, unknown } = read::net(document)?;
        if !layers.is_empty() && !v1_layers.is_empty() {
            return Err(Error::Net {
                net: net.name().to_owned(),
                problem: "both \"layer\" and \"layers\"".into(),
                expected: "one of them; Caffe would ignore every \"layer\"".into(),
            });
        }
        let mut all: Vec<(LayerParameter, Option<u32>)> =
            layers.into_iter().map(|(layer, field)| (layer, Some(field))).collect();
        for (layer, field) in v1_layers {
            all.push((upgrade::v1_layer(layer)?, Some(field)));
        }
        Self::assemble(net, all, unknown)
    }

    /// Reads the net that a weight file describes: the layers as the writing net had them.
    ///
    /// Their phases say what that net was for, not what this one is; blobs stay in the file.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::TooLarge`], and those of the upgrades.
    pub fn from_weights(weights: &Caffemodel) -> Result<Self> {
        let layers: Result<Vec<_>> = weights
            .layers()
            .map(|layer| {
                let mut parameter = layer.parameter()?;
                parameter.blobs = Vec::new();
                Ok((parameter, None))
            })
            .collect();
        Self::assemble(weights.net().clone(), layers?, Vec::new())
    }

    fn assemble(
        net: NetParameter,
        layers: Vec<(LayerParameter, Option<u32>)>,
        unknown: Vec<Unknown>,
    ) -> Result<Self> {
        let input = upgrade::input_layer(&net)?.map(|layer| (layer, None));
        let layers = input
            .into_iter()
            .chain(layers)
            .map(|(mut parameter, field)| {
                upgrade::batch_norm_params(&mut parameter);
                Layer { parameter, field }
            })
            .collect();
        Ok(Self {
            force_backward: net.force_backward(),
            name: net.name.unwrap_or_default(),
            state: net.state.unwrap_or_default(),
            layers,
            unknown,
        })
    }

    /// The net as it is in a phase, at the level and with the stages that it gives itself.
    ///
    /// # Errors
    /// As for [`Self::for_state`].
    pub fn for_phase(&self, phase: Phase) -> Result<Self> {
        self.for_state(&NetState { phase: Some(phase as i32), ..self.state.clone() })
    }

    /// The net with the layers that exist in a state.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer with both `include` and `exclude`.
    pub fn for_state(&self, state: &NetState) -> Result<Self> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            if layer.parameter.exists_in(state)? {
                layers.push(layer.clone());
            }
        }
        Ok(Self { layers, state: state.clone(), ..self.clone() })
    }

    /// The first layer of a name: the one that weights of this name load into.
    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|l| l.name() == name)
    }
}
