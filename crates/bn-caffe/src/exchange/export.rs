//! From Caffe's files.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::View;

use super::{BIAS, Group, RUNNING_MEAN, RUNNING_VAR, WEIGHT, divided, groups, test_net, wrong};
use crate::bind::Binding;
use crate::blob::{Blob, Element};
use crate::error::{Error, Result};
use crate::net::{Layer, Net};
use crate::weights::Caffemodel;

/// One BatchNorm in PyTorch's terms. Values are exact; they have the precision of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Name of the BatchNorm layer, and of the module.
    pub name: String,
    /// Gamma.
    pub weight: Option<Vec<f64>>,
    /// Beta.
    pub bias: Option<Vec<f64>>,
    /// Mean of each channel.
    pub running_mean: Vec<f64>,
    /// Unbiased variance of each channel.
    pub running_var: Vec<f64>,
    /// Added to the variance.
    pub eps: f32,
    /// Whether the file holds doubles.
    pub double: bool,
}

/// Every BatchNorm of a net.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// In the order of the net.
    pub layers: Vec<Exported>,
    /// BatchNorm layers without weights in the file.
    pub without_weights: Vec<String>,
}

/// Takes statistics and parameters out of weights.
///
/// # Errors
/// Those of [`Binding::new`]; [`Error::Blob`]; [`Error::Layer`] for blobs that do not fit each other.
pub fn export(net: &Net, weights: &Caffemodel) -> Result<Export> {
    let net = test_net(net)?;
    Binding::new(&net, weights)?;
    let mut found = Export { layers: Vec::new(), without_weights: Vec::new() };
    for group in groups(&net) {
        match exported(&group, weights)? {
            Some(layer) => found.layers.push(layer),
            None => found.without_weights.push(group.batch_norm.name().to_owned()),
        }
    }
    Ok(found)
}

/// One group; none where the BatchNorm has no weights.
pub(super) fn exported(group: &Group<'_>, weights: &Caffemodel) -> Result<Option<Exported>> {
    let batch_norm = group.batch_norm;
    let Some(stored) = weights.layer(batch_norm.name()) else { return Ok(None) };
    let blobs = stored.blobs()?;
    let [mean, variance, factor] = &blobs[..] else {
        return Err(wrong(batch_norm, "blobs in the weight file", blobs.len().to_string(), "3"));
    };
    let channels = mean.len();
    let fits = |layer: &Layer, what: &str, blob: &Blob| {
        if blob.len() == channels {
            return Ok(());
        }
        Err(wrong(layer, what, format!("{} values", blob.len()), format!("{channels} channels")))
    };
    fits(batch_norm, "blob 1 in the weight file", variance)?;
    let blob = |layer: Option<&Layer>, last: bool| -> Result<Option<Vec<f64>>> {
        let Some(layer) = layer else { return Ok(None) };
        let Some(stored) = weights.layer(layer.name()) else { return Ok(None) };
        let blobs = stored.blobs()?;
        let Some(blob) = (if last { blobs.last() } else { blobs.first() }) else {
            return Ok(None);
        };
        fits(layer, "its blob in the weight file", blob)?;
        Ok(Some(blob.to_f64()))
    };
    let weight = blob(group.scale, false)?;
    let bias = match blob(group.bias, true)? {
        None if weight.is_some() => Some(vec![0.0; channels]),
        bias => bias,
    };
    Ok(Some(Exported {
        name: batch_norm.name().to_owned(),
        weight,
        bias,
        running_mean: divided(mean, factor),
        running_var: divided(variance, factor),
        eps: batch_norm.batch_norm().eps(),
        double: mean.element() == Element::F64,
    }))
}

impl Exported {
    /// The tensors by their names behind the module's.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &[f64])> {
        [
            self.weight.as_deref().map(|values| (WEIGHT, values)),
            self.bias.as_deref().map(|values| (BIAS, values)),
            Some((RUNNING_MEAN, &self.running_mean[..])),
            Some((RUNNING_VAR, &self.running_var[..])),
        ]
        .into_iter()
        .flatten()
    }
}

impl Export {
    /// The content of a `.safetensors` file.
    ///
    /// # Errors
    /// [`Error::Net`] for names that are the same, or more than a header of the format holds.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        // "pt" is what readers of PyTorch's side look for.
        let mut metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut tensors = Vec::new();
        for layer in &self.layers {
            let eps = format!("{:?}", f64::from(layer.eps));
            if metadata.insert(format!("{}.eps", layer.name), eps).is_some() {
                return Err(unwritable(format!("two layers named \"{}\"", layer.name)));
            }
            for (name, values) in layer.tensors() {
                let tensor = Tensor::new(values, layer.double);
                tensors.push((format!("{}.{name}", layer.name), tensor));
            }
        }
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| unwritable(e.to_string()))
    }
}

fn unwritable(problem: String) -> Error {
    let expected = "layers that a .safetensors file can hold".to_owned();
    Error::Net { net: String::new(), problem, expected }
}

/// Values of one axis as little-endian bytes.
struct Tensor {
    dtype: Dtype,
    shape: [usize; 1],
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(values: &[f64], double: bool) -> Self {
        let bytes = if double {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect()
        };
        let dtype = if double { Dtype::F64 } else { Dtype::F32 };
        Self { dtype, shape: [values.len()], bytes }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
