//! What makes Caffe refuse a layer or a net, told before anything is run.
//!
//! Caffe aborts the process; here each abort is an [`Error`] that names the layer, the parameter,
//! what was found and what is required. Shapes are checked in [`geometry`](super::geometry), where
//! they are known.

use std::collections::HashSet;

use super::Net;
use crate::blob::Blob;
use crate::error::{Error, Result};
use crate::proto::layer_type::REGISTERED;
use crate::proto::schema::{FillerParameter, LayerParameter};

/// Checks what a layer says of itself, as Caffe does when it sets up one layer.
///
/// Type string, `param` of BatchNorm, fillers and `num_axes` of Scale and Bias, and blobs written out
/// in the layer. Values that Caffe accepts, such as a negative eps, pass.
///
/// # Errors
/// [`Error::Layer`], [`Error::Blob`].
pub fn parameters(layer: &LayerParameter) -> Result<()> {
    let kind = layer.type_name();
    if !REGISTERED.contains(&kind) {
        let near = REGISTERED.iter().find(|r| r.eq_ignore_ascii_case(kind));
        let expected = match near {
            Some(near) => format!("\"{near}\"; types are case-sensitive"),
            None => "a layer type of BVLC Caffe".to_owned(),
        };
        return Err(Error::layer(layer.name(), kind, "type", format!("\"{kind}\""), expected));
    }
    // A filler is looked at where it has something to fill: not with blobs in the layer, and the
    // factor's not where that is a second bottom.
    let filled = !layer.blobs.is_empty();
    let learned = (!filled && layer.bottom.len() < 2).then_some(());
    match kind {
        "BatchNorm" => batch_norm_params(layer)?,
        "Scale" => {
            if let Some(p) = &layer.scale_param {
                num_axes(layer, p.num_axes())?;
                filler(layer, "scale_param.filler", learned.and(p.filler.as_ref()))?;
                // The bias is learned also where the factor is a second bottom.
                let bias = p.bias_filler.as_ref().filter(|_| p.bias_term() && !filled);
                filler(layer, "scale_param.bias_filler", bias)?;
            }
        }
        "Bias" => {
            if let Some(p) = &layer.bias_param {
                num_axes(layer, p.num_axes())?;
                filler(layer, "bias_param.filler", learned.and(p.filler.as_ref()))?;
            }
        }
        _ => {}
    }
    for (blob, message) in layer.blobs.iter().enumerate() {
        Blob::parse(message).map_err(|problem| Error::Blob {
            layer: layer.name().to_owned(),
            blob,
            problem,
        })?;
    }
    Ok(())
}

/// The blobs of BatchNorm are statistics: none of the first three may have a learning rate.
fn batch_norm_params(layer: &LayerParameter) -> Result<()> {
    for (n, spec) in layer.param.iter().take(3).enumerate() {
        if spec.lr_mult() != 0.0 {
            return Err(Error::layer(
                layer.name(),
                layer.type_name(),
                format!("param {n}, lr_mult"),
                match spec.lr_mult {
                    Some(lr) => lr.to_string(),
                    None => "none, which means 1".to_owned(),
                },
                "0: statistics are not learned",
            ));
        }
    }
    Ok(())
}

fn num_axes(layer: &LayerParameter, num_axes: i32) -> Result<()> {
    // With two bottoms the number is ignored.
    if num_axes < -1 && layer.bottom.len() < 2 {
        let kind = layer.type_name();
        return Err(Error::layer(
            layer.name(),
            kind,
            "num_axes",
            num_axes.to_string(),
            "-1 (to the end of the input), 0 (a scalar) or more",
        ));
    }
    Ok(())
}

fn filler(layer: &LayerParameter, which: &str, filler: Option<&FillerParameter>) -> Result<()> {
    let Some(filler) = filler else { return Ok(()) };
    if FillerParameter::KINDS.contains(&filler.kind()) {
        return Ok(());
    }
    Err(Error::layer(
        layer.name(),
        layer.type_name(),
        format!("{which}.type"),
        format!("\"{}\"", filler.kind()),
        format!("one of {}", FillerParameter::KINDS.join(", ")),
    ))
}

/// Checks the number of inputs and outputs of the layers this crate knows.
///
/// # Errors
/// [`Error::Layer`].
pub fn connections(layer: &LayerParameter) -> Result<()> {
    let bottoms = match layer.type_name() {
        "BatchNorm" | "ReLU" => 1..=1,
        "Scale" | "Bias" => 1..=2,
        "Input" => 0..=0,
        "Eltwise" => 2..=usize::MAX,
        _ => return Ok(()),
    };
    let wrong = |what: &str, found: usize, expected: String| {
        Err(Error::layer(layer.name(), layer.type_name(), what, found.to_string(), expected))
    };
    if !bottoms.contains(&layer.bottom.len()) {
        let expected = match (*bottoms.start(), *bottoms.end()) {
            (a, b) if a == b => a.to_string(),
            (a, usize::MAX) => format!("{a} or more"),
            (a, b) => format!("{a} or {b}"),
        };
        return wrong("number of bottoms", layer.bottom.len(), expected);
    }
    if layer.type_name() != "Input" && layer.top.len() != 1 {
        return wrong("number of tops", layer.top.len(), "1".into());
    }
    if !layer.propagate_down.is_empty() && layer.propagate_down.len() != layer.bottom.len() {
        let expected = format!("0 or {}, the number of bottoms", layer.bottom.len());
        return wrong("number of propagate_down", layer.propagate_down.len(), expected);
    }
    Ok(())
}

/// Checks a net as Caffe does when it sets it up; filter it by state before.
///
/// Fields that BVLC Caffe does not have, each layer's [`parameters`] and [`connections`], too many
/// `param`, bottoms that no layer produces, and tops that two layers produce.
///
/// # Errors
/// [`Error::Net`], [`Error::Layer`], [`Error::Blob`]: the first that is found.
pub fn net(net: &Net) -> Result<()> {
    if let Some(unknown) = net.unknown.first() {
        return Err(Error::Net {
            net: net.name.clone(),
            problem: format!("field \"{}\" in {}", unknown.field, unknown.message),
            expected: "a field of BVLC Caffe".into(),
        });
    }
    let mut produced: HashSet<&str> = HashSet::new();
    for layer in &net.layers {
        let p = &layer.parameter;
        parameters(p)?;
        connections(p)?;
        if let Some(blobs) = layer.blob_count()
            && p.param.len() > blobs
        {
            return Err(Error::layer(
                p.name(),
                p.type_name(),
                "number of param",
                p.param.len().to_string(),
                format!("at most {blobs}, the number of blobs"),
            ));
        }
        for (n, bottom) in p.bottom.iter().enumerate() {
            if !produced.contains(bottom.as_str()) {
                return Err(Error::layer(
                    p.name(),
                    p.type_name(),
                    format!("bottom {n}"),
                    format!("\"{bottom}\""),
                    "a blob that a layer before produces",
                ));
            }
        }
        for (n, top) in p.top.iter().enumerate() {
            let in_place = p.bottom.get(n) == Some(top);
            if !produced.insert(top) && !in_place {
                return Err(Error::layer(
                    p.name(),
                    p.type_name(),
                    format!("top {n}"),
                    format!("\"{top}\", which another layer produces"),
                    "a new name, or the bottom of the same index",
                ));
            }
        }
    }
    Ok(())
}
