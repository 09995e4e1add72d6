//! Back into Caffe's files.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::export::exported;
use super::{BIAS, Exported, Group, RUNNING_MEAN, RUNNING_VAR, WEIGHT, groups, test_net, wrong};
use crate::bind::Binding;
use crate::blob::{Blob, Element, Shape};
use crate::error::{Error, Result};
use crate::net::{Layer, Net};
use crate::weights::Caffemodel;

/// PyTorch's counter, which Caffe has not: passed over.
const BATCHES: &str = "num_batches_tracked";

/// Weights with other statistics and parameters.
#[derive(Clone, Debug)]
pub struct Import {
    /// The weights; layers that have not changed are byte for byte what they were.
    pub weights: Caffemodel,
    /// BatchNorm layers that have other values now, or whose Scale or Bias has.
    pub changed: Vec<String>,
    /// BatchNorm layers whose tensors hold what the weights held.
    pub unchanged: Vec<String>,
    /// BatchNorm layers that the file has no tensor of.
    pub missing: Vec<String>,
    /// Layers whose eps in the file's metadata is not the net's: name, the file's, the net's.
    pub other_eps: Vec<(String, f64, f32)>,
}

/// Puts the tensors of a `.safetensors` file, see [`exchange`](super), into weights.
///
/// Statistics get a factor of 1. Values are rounded to the precision of the weights.
///
/// # Errors
/// [`Error::Net`] for a broken file, and a tensor that belongs to no BatchNorm of the net;
/// [`Error::Layer`] for another shape or element type, a variance that is negative, values that are
/// not finite, one of the statistics without the other, a weight or bias that no layer of the net can
/// hold; and those of [`Binding::new`].
pub fn import(net: &Net, weights: &Caffemodel, file: &[u8]) -> Result<Import> {
    let net = test_net(net)?;
    Binding::new(&net, weights)?;
    let broken = |problem: String| Error::Net {
        net: net.name.clone(),
        problem,
        expected: "a .safetensors file of this net's BatchNorm layers".into(),
    };
    let header = SafeTensors::read_metadata(file).map_err(|e| broken(e.to_string()))?.1;
    let tensors = SafeTensors::deserialize(file).map_err(|e| broken(e.to_string()))?;
    let mut unread: BTreeMap<&str, ()> =
        tensors.names().into_iter().map(|name| (name, ())).collect();
    let mut done = Import {
        weights: weights.clone(),
        changed: Vec::new(),
        unchanged: Vec::new(),
        missing: Vec::new(),
        other_eps: Vec::new(),
    };
    for group in groups(&net) {
        let layer = group.batch_norm;
        let mut new = BTreeMap::new();
        for name in [WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR] {
            let full = format!("{}.{name}", layer.name());
            if let Ok(tensor) = tensors.tensor(&full) {
                unread.remove(full.as_str());
                new.insert(
                    name,
                    values(layer, name, tensor.dtype(), tensor.shape(), tensor.data())?,
                );
            }
        }
        unread.remove(format!("{}.{BATCHES}", layer.name()).as_str());
        let name = layer.name().to_owned();
        let Some(old) = exported(&group, weights)?.filter(|_| !new.is_empty()) else {
            if new.is_empty() {
                done.missing.push(name);
                continue;
            }
            return Err(wrong(layer, "weights", "none of this name", "a layer with blobs"));
        };
        let eps = header.metadata().as_ref().and_then(|m| m.get(&format!("{name}.eps")));
        if let Some(eps) = eps.and_then(|eps| eps.parse::<f64>().ok())
            && eps as f32 != old.eps
        {
            done.other_eps.push((name.clone(), eps, old.eps));
        }
        let changed = put(&group, &old, &new, &mut done.weights)?;
        if changed { done.changed.push(name) } else { done.unchanged.push(name) }
    }
    match unread.keys().next() {
        None => Ok(done),
        Some(name) => Err(broken(format!("tensor \"{name}\" of no BatchNorm of the net"))),
    }
}

/// Puts the values of one group into the weights; whether any differ.
fn put(
    group: &Group<'_>,
    old: &Exported,
    new: &BTreeMap<&str, Vec<f64>>,
    weights: &mut Caffemodel,
) -> Result<bool> {
    let layer = group.batch_norm;
    let channels = old.running_mean.len();
    for (name, values) in new {
        if values.len() != channels {
            let found = format!("{} values", values.len());
            return Err(wrong(layer, name, found, format!("{channels} channels")));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(wrong(layer, name, value.to_string(), "finite values"));
        }
    }
    let mut changed = false;
    match (new.get(RUNNING_MEAN), new.get(RUNNING_VAR)) {
        (None, None) => {}
        (Some(mean), Some(var)) => {
            if let Some(value) = var.iter().find(|&&value| value < 0.0) {
                return Err(wrong(layer, RUNNING_VAR, value.to_string(), "0 or more"));
            }
            if *mean != old.running_mean || *var != old.running_var {
                set(layer, weights, &[(0, mean), (1, var), (2, &vec![1.0])])?;
                changed = true;
            }
        }
        _ => {
            let expected = format!("both {RUNNING_MEAN} and {RUNNING_VAR}");
            return Err(wrong(layer, "statistics", "one without the other", expected));
        }
    }
    let targets = [(WEIGHT, group.scale, &old.weight, 1.0), (BIAS, group.bias, &old.bias, 0.0)];
    for (name, target, old, neutral) in targets {
        let Some(values) = new.get(name) else { continue };
        if old.as_ref() == Some(values) {
            continue;
        }
        let target = target.filter(|target| weights.layer(target.name()).is_some());
        let Some(target) = target else {
            if values.iter().all(|&value| value == neutral) {
                continue;
            }
            let expected = format!("{neutral} throughout: the net has no layer with blobs for it");
            return Err(wrong(layer, name, "other values", expected));
        };
        let blobs = weights.layer(target.name()).map_or(0, |stored| stored.blob_count());
        let index = if name == BIAS { blobs.saturating_sub(1) } else { 0 };
        set(target, weights, &[(index, values)])?;
        changed = true;
    }
    Ok(changed)
}

/// Gives some blobs of a layer other values, in the shape and precision that they have.
fn set(layer: &Layer, weights: &mut Caffemodel, new: &[(usize, &Vec<f64>)]) -> Result<()> {
    let Some(stored) = weights.layer_mut(layer.name()) else { return Ok(()) };
    let mut blobs = stored.blobs()?;
    for &(index, values) in new {
        let Some(blob) = blobs.get_mut(index) else { continue };
        let (shape, element) = match blob.len() == values.len() {
            true => (blob.shape().clone(), blob.element()),
            false => (Shape::new([values.len()]).map_err(|_| too_many(layer))?, Element::F32),
        };
        *blob = match Blob::rounded(shape, element, values) {
            Ok(Some(blob)) => blob,
            _ => {
                let what = format!("blob {index}");
                return Err(wrong(layer, &what, "values beyond its precision", "finite ones"));
            }
        };
    }
    stored.set_blobs(&blobs)
}

fn too_many(layer: &Layer) -> Error {
    wrong(layer, "values", "too many", "at most 2147483647")
}

/// The values of a tensor, exactly.
fn values(
    layer: &Layer,
    name: &str,
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
) -> Result<Vec<f64>> {
    if shape.len() != 1 {
        return Err(wrong(layer, name, format!("shape {shape:?}"), "one axis, the channels"));
    }
    Ok(match dtype {
        Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(fixed(b))).collect(),
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(fixed(b)).into()).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes(fixed(b)).into()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes(fixed(b)).into()).collect(),
        other => return Err(wrong(layer, name, other.to_string(), "F64, F32, F16 or BF16")),
    })
}

/// A slice of a length that is known.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}
