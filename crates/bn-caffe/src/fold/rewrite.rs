//! Both files with the changes in them.

use crate::blob::Blob;
use crate::error::Result;
use crate::net::Net;
use crate::proto::raw::RawField;
use crate::text::{Document, Edits, Message};
use crate::weights::{Caffemodel, Form, WeightLayer};

/// Changes to a text and to its weights.
pub(super) struct Rewrite<'a> {
    document: &'a Document,
    net: &'a Net,
    edits: Edits<'a>,
    weights: Caffemodel,
    /// For each layer, whether its bias was added already.
    bias_added: Vec<bool>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(document: &'a Document, net: &'a Net, weights: Caffemodel) -> Self {
        let bias_added = vec![false; net.layers.len()];
        Self { document, net, edits: Edits::new(document), weights, bias_added }
    }

    /// The blobs of a layer as they are by now: one layer may take a map from either side.
    pub(super) fn blobs(&self, name: &str) -> Result<Vec<Blob>> {
        self.weights.layer(name).map_or(Ok(Vec::new()), WeightLayer::blobs)
    }

    fn message(&self, layer: usize) -> Option<Message<'a>> {
        let field = self.document.field(self.net.layers[layer].field?)?;
        field.value().as_message().ok()
    }

    fn stored(&mut self, layer: usize) -> Option<&mut WeightLayer> {
        self.weights.layer_mut(self.net.layers[layer].name())
    }

    /// Gives a layer other blobs, and the bias that it had not.
    pub(super) fn merge(&mut self, layer: usize, blobs: &[Blob], bias_added: bool) -> Result<()> {
        let is_inner_product = self.net.layers[layer].type_name() == "InnerProduct";
        if bias_added && !self.bias_added[layer] {
            self.bias_added[layer] = true;
            let name = if is_inner_product { "inner_product_param" } else { "convolution_param" };
            let settings = self.message(layer).and_then(|message| message.get(name));
            if let Some(settings) = settings {
                let settings = settings.as_message()?;
                match settings.get("bias_term") {
                    Some(value) => self.edits.replace(value, "true"),
                    None => self.edits.append(settings, "bias_term: true"),
                }
            }
        }
        let Some(stored) = self.stored(layer) else { return Ok(()) };
        stored.set_blobs(blobs)?;
        if !bias_added {
            return Ok(());
        }
        let (number, bias_term) = match (stored.form(), is_inner_product) {
            (Form::V2, false) => (106, 2),
            (Form::V2, true) => (117, 2),
            (Form::V1, false) => (10, 2),
            (Form::V1, true) => (17, 2),
        };
        stored.edit(|message| {
            // Converters leave settings out; what is not there need not be right.
            if message.count(number) == 0 {
                return Ok(());
            }
            message.edit_message(number, |settings| settings.set(RawField::varint(bias_term, 1)))
        })
    }

    /// Gives the one top of a layer another name.
    pub(super) fn rename_top(&mut self, layer: usize, name: &str) -> Result<()> {
        self.rename(layer, "top", name)
    }

    /// Gives the one bottom of a layer another name.
    pub(super) fn rename_bottom(&mut self, layer: usize, name: &str) -> Result<()> {
        self.rename(layer, "bottom", name)
    }

    fn rename(&mut self, layer: usize, which: &str, name: &str) -> Result<()> {
        let parameter = &self.net.layers[layer].parameter;
        let names = if which == "top" { &parameter.top } else { &parameter.bottom };
        if names.first().is_some_and(|old| old == name) {
            return Ok(());
        }
        if let Some(value) = self.message(layer).and_then(|message| message.all(which).next()) {
            self.edits.replace(value, Edits::quote(name));
        }
        let Some(stored) = self.stored(layer) else { return Ok(()) };
        let number = match (stored.form(), which) {
            (Form::V2, "top") => 4,
            (Form::V2, _) | (Form::V1, "top") => 3,
            (Form::V1, _) => 2,
        };
        stored.edit(|message| {
            if message.count(number) > 0 {
                message.set(RawField::bytes(number, name.to_owned()));
            }
            Ok(())
        })
    }

    /// Takes layers out of both files.
    pub(super) fn remove(&mut self, layers: &[usize]) {
        for &layer in layers {
            if let Some(field) = self.net.layers[layer].field.and_then(|id| self.document.field(id))
            {
                self.edits.remove(field);
            }
            self.weights.remove(self.net.layers[layer].name());
        }
    }

    /// Makes a Scale with a bias of a BatchNorm.
    pub(super) fn become_scale(&mut self, layer: usize, blobs: &[Blob]) -> Result<()> {
        if let Some(message) = self.message(layer) {
            for field in message.fields() {
                match field.name() {
                    "type" => {
                        self.edits.replace(field.value(), "\"Scale\"");
                        self.edits.insert_after(field, "scale_param { bias_term: true }");
                    }
                    // Settings of the statistics, and blobs written in the text.
                    "batch_norm_param" | "param" | "blobs" => self.edits.remove(field),
                    _ => {}
                }
            }
        }
        let Some(stored) = self.stored(layer) else { return Ok(()) };
        stored.set_blobs(blobs)?;
        if stored.form() == Form::V1 {
            // Layers of that form never were BatchNorm: their type says nothing.
            return Ok(());
        }
        stored.edit(|message| {
            if message.get(2).is_some_and(|kind| !kind.payload().is_empty()) {
                message.set(RawField::bytes(2, "Scale"));
            }
            message.replace_all(6, []);
            message.replace_all(139, []);
            message.edit_message(142, |settings| settings.set(RawField::varint(4, 1)))
        })
    }

    /// Both files.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Caffemodel)> {
        Ok((self.edits.apply()?, self.weights))
    }
}
