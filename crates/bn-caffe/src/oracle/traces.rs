//! What real Caffe computed in every BatchNorm and Scale layer of a real net.
//!
//! A folder of traces holds `trunk.prototxt`, the layers that were run, and `trace/<layer>__in.npy`
//! and `trace/<layer>__out.npy` for each layer, in single precision and phase TEST. A Scale without
//! an `__in` reads the output of the BatchNorm before it.

use std::path::Path;

use bn_core::InOut;

use super::array::Array;
use super::{Bound, Case, Output};
use crate::bind::Binding;
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Learned, Numerics, Param, Scale, Statistics};
use crate::net::{Layer, Net};
use crate::proto::schema::Phase;
use crate::weights::{Caffemodel, WeightLayer};

/// Largest distance from the `f64` value, relative to max(1, |value|), that [`Numerics::Fast`] may
/// have.
const RELATIVE: f64 = 1e-6;

/// Runs every traced layer on its recorded input with the weights of the file.
///
/// In [`Numerics::Exact`] the output `y` has to be the recorded one to the bit. In
/// [`Numerics::Fast`] it is compared with the formula in `f64`: the output `y/f64` is the quotient
/// of its largest distance and max(1, |value|), against 0.
///
/// # Errors
/// Those of the prototxt, the weights and their matching. What goes wrong in a layer is in its
/// report.
pub fn replay(
    traces: impl AsRef<Path>,
    weights: impl AsRef<Path>,
    numerics: Numerics<'_, f32>,
) -> Result<Vec<Case>> {
    let traces = traces.as_ref();
    let net = Net::read(traces.join("trunk.prototxt"))?;
    let weights = Caffemodel::read(weights)?;
    let binding = Binding::new(&net, &weights)?;
    let mut cases = Vec::new();
    let mut before = None;
    for (layer, weights) in net.layers.iter().zip(binding.layers) {
        if !is_traced(layer.type_name()) {
            continue;
        }
        let outputs = run(&traces.join("trace"), layer, weights, before, numerics);
        before = (layer.type_name() == "BatchNorm").then(|| layer.name());
        cases.push(Case { name: layer.name().to_owned(), outputs });
    }
    Ok(cases)
}

/// Whether layers of a type have traces.
pub(super) fn is_traced(type_name: &str) -> bool {
    matches!(type_name, "BatchNorm" | "Scale")
}

fn run(
    folder: &Path,
    layer: &Layer,
    weights: Option<&WeightLayer>,
    before: Option<&str>,
    numerics: Numerics<'_, f32>,
) -> Result<Vec<Output>> {
    let file = |layer: &str, end: &str| folder.join(format!("{}{end}", layer.replace('/', "_")));
    let mut input = file(layer.name(), "__in.npy");
    if let Some(before) = before
        && !input.exists()
    {
        input = file(before, "__out.npy");
    }
    let x = Array::<f32>::read(&input)?;
    let recorded = Array::<f32>::read(&file(layer.name(), "__out.npy"))?;
    let weights = weights.ok_or_else(|| {
        let (found, expected) = ("none of this name", "a layer with blobs");
        Error::layer(layer.name(), layer.type_name(), "weights", found, expected)
    })?;
    let blobs = weights.blobs()?;
    let mut y = vec![0.0; x.values.len()];
    let io = InOut::new(&x.values[..], &mut y[..]);
    let p = &layer.parameter;
    let channels = x.shape.get(1).copied().unwrap_or(1);
    let spatial = x.shape.iter().skip(2).product::<usize>();
    let reference: Box<dyn Fn(usize, f64) -> f64> = if layer.type_name() == "BatchNorm" {
        let mut statistics = Statistics::from_blobs(&blobs);
        let mut layer = BatchNorm::new(p, Phase::Test, &x.shape, numerics)?.for_inference();
        layer.forward(&mut statistics, &x.shape, io)?;
        let eps = f64::from(p.batch_norm_param.unwrap_or_default().eps());
        let factor = f64::from(statistics.factor[0]);
        let scale = if factor == 0.0 { 0.0 } else { 1.0 / factor };
        Box::new(move |c, x| {
            let mean = f64::from(statistics.mean[c]) * scale;
            (x - mean) / (f64::from(statistics.variance[c]) * scale + eps).sqrt()
        })
    } else {
        let mut params = blobs.iter().map(Param::from_blob);
        let learned = Learned { factor: params.next(), bias: params.next() };
        let mut layer = Scale::new(p, &x.shape, None, numerics)?.for_inference();
        layer.forward(&learned, None, &x.shape, io)?;
        Box::new(move |c, x| {
            let value = |param: &Option<Param<f32>>, otherwise: f64| {
                param.as_ref().map_or(otherwise, |param| param.value[c].into())
            };
            x * value(&learned.factor, 1.0) + value(&learned.bias, 0.0)
        })
    };
    if let Numerics::Exact = numerics {
        let exact = Output::new(0, "y", &y, &recorded.values, |_| Bound::Identical);
        return Ok(vec![exact]);
    }
    let distances: Vec<f64> = (0..y.len())
        .map(|i| {
            let value = reference(i / spatial % channels, f64::from(x.values[i]));
            (f64::from(y[i]) - value).abs() / value.abs().max(1.0)
        })
        .collect();
    let zeros = vec![0.0; distances.len()];
    Ok(vec![Output::new(0, "y/f64", &distances, &zeros, |_| Bound::Within(RELATIVE))])
}
