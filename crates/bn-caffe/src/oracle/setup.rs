//! Layers that Caffe accepts or refuses.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::Array;
use super::cases::parameter;
use super::manifest::json;
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Numerics, Scale};
use crate::proto::schema::Phase;

/// What Caffe did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It set the layer up.
    Accepts,
    /// It aborted, with this message.
    Aborts(String),
}

/// A layer set up, and what Caffe did with the same one.
#[derive(Debug)]
pub struct SetUp {
    /// Its name in `errors.json`.
    pub name: String,
    /// What Caffe did.
    pub expected: Expected,
    /// What was done here.
    pub found: Result<()>,
}

impl SetUp {
    /// Whether both accept or both refuse, the refusal here being of the layer and not of its files.
    #[must_use]
    pub fn passes(&self) -> bool {
        let about_files = |error: &Error| {
            matches!(error, Error::Io { .. } | Error::Oracle { .. } | Error::InFile { .. })
        };
        match (&self.expected, &self.found) {
            (Expected::Accepts, found) => found.is_ok(),
            (Expected::Aborts(_), Ok(())) => false,
            (Expected::Aborts(_), Err(error)) => !about_files(error),
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    exit: i32,
    #[serde(default)]
    fatal: String,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
}

/// Sets up every layer of `errors.json`.
pub(super) fn replay(directory: &Path) -> Result<Vec<SetUp>> {
    let entries: Vec<Entry> = json(directory.join("errors.json"))?;
    let inputs = directory.join("_errors");
    let set_ups = entries.into_iter().map(|entry| SetUp {
        found: set_up(&inputs, &entry),
        expected: match entry.exit {
            0 => Expected::Accepts,
            _ => Expected::Aborts(entry.fatal),
        },
        name: entry.name,
    });
    Ok(set_ups.collect())
}

fn set_up(inputs: &Path, entry: &Entry) -> Result<()> {
    let name = &entry.name;
    let plain = "name: 'b' type: 'BatchNorm'".to_owned();
    match name.as_str() {
        // These two differ in what the driver did, not in the layer's text.
        "bn_channels_change" => {
            let layer = parameter(&plain, 1)?;
            let [before, after] = ["cc_a", "cc_b"].map(|name| shape(inputs, name));
            let (before, after) = (before?, after?);
            let mut layer = BatchNorm::<f32>::new(&layer, Phase::Train, &before, Numerics::Exact)?;
            let mut blobs = crate::layer::Statistics::zeros(layer.channels());
            let mut values = vec![0.0; after.iter().product()];
            return layer.forward(&mut blobs, &after, bn_core::InOut::InPlace(&mut values));
        }
        "bn_two_tops" => {
            let mut layer = parameter(&plain, 1)?;
            layer.top.push("second".into());
            return batch_norm(&layer, &[4, 3]);
        }
        _ => {}
    }
    let text = entry
        .inputs
        .values()
        .next()
        .ok_or_else(|| Error::Oracle { place: inputs.join(name), problem: "no prototxt".into() })?;
    if inputs.join(format!("{name}_s.npy")).exists() {
        let layer = parameter(text, 2)?;
        let (x, s) = (shape(inputs, &format!("{name}_x"))?, shape(inputs, &format!("{name}_s"))?);
        return Scale::<f32>::new(&layer, &x, Some(&s), Numerics::Exact)?.initial().map(drop);
    }
    let layer = parameter(text, 1)?;
    let x = shape(inputs, name)?;
    match layer.type_name() {
        "Scale" | "Bias" => {
            Scale::<f32>::new(&layer, &x, None, Numerics::Exact)?.initial().map(drop)
        }
        _ => batch_norm(&layer, &x),
    }
}

fn batch_norm(layer: &crate::proto::schema::LayerParameter, x: &[usize]) -> Result<()> {
    let set_up = BatchNorm::<f32>::new(layer, Phase::Train, x, Numerics::Exact)?;
    set_up.initial(layer).map(drop)
}

/// The shape of an input.
fn shape(inputs: &Path, name: &str) -> Result<Vec<usize>> {
    let path = inputs.join(format!("{name}.npy"));
    match Array::<f32>::read(&path) {
        Ok(array) => Ok(array.shape),
        Err(Error::Oracle { .. }) => Array::<f64>::read(&path).map(|array| array.shape),
        Err(other) => Err(other),
    }
}
