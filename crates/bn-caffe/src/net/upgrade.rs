//! Old forms brought to today's, as Caffe does when it loads a file.

use crate::error::{Error, Result};
use crate::proto::layer_type::V1LayerType;
use crate::proto::schema::{
    BlobShape, InputParameter, LayerParameter, NetParameter, ParamSpec, V1LayerParameter,
};

/// Brings a layer of the form `layers { … }` to the form `layer { … }`.
///
/// Numbered types become strings; `blobs_lr`, `weight_decay`, `param` and `blob_share_mode`, each a
/// list over the blobs, become one [`ParamSpec`] per blob.
///
/// # Errors
/// [`Error::Layer`] for a layer of the still older form inside it.
pub fn v1_layer(old: V1LayerParameter) -> Result<LayerParameter> {
    if old.layer.is_some() {
        return Err(Error::layer(
            old.name(),
            "",
            "layers { layer { … } }",
            "a layer of the form before V1",
            "a file upgraded with Caffe's upgrade_net_proto_text",
        ));
    }
    let specs =
        [old.param.len(), old.blob_share_mode.len(), old.blobs_lr.len(), old.weight_decay.len()];
    let param = (0..specs.into_iter().max().unwrap_or(0))
        .map(|blob| ParamSpec {
            name: old.param.get(blob).cloned(),
            share_mode: old.blob_share_mode.get(blob).copied(),
            lr_mult: old.blobs_lr.get(blob).copied(),
            decay_mult: old.weight_decay.get(blob).copied(),
        })
        .collect();
    let type_name = old
        .type_number
        .and_then(|number| V1LayerType::try_from(number).ok())
        .map(|t| t.type_name().to_owned());
    Ok(LayerParameter {
        name: old.name,
        type_name,
        bottom: old.bottom,
        top: old.top,
        loss_weight: old.loss_weight,
        param,
        blobs: old.blobs,
        include: old.include,
        exclude: old.exclude,
        convolution_param: old.convolution_param,
        inner_product_param: old.inner_product_param,
        eltwise_param: old.eltwise_param,
        relu_param: old.relu_param,
        ..LayerParameter::default()
    })
}

/// Turns `input` with `input_shape` or `input_dim` into the Input layer that Caffe puts first.
///
/// Without any shape there is no layer, as in Caffe: the blobs are then unknown to the layers.
///
/// # Errors
/// [`Error::Net`] where the number of shapes does not fit the number of inputs.
pub fn input_layer(net: &NetParameter) -> Result<Option<LayerParameter>> {
    let inputs = net.input.len();
    if inputs == 0 || (net.input_shape.is_empty() && net.input_dim.is_empty()) {
        return Ok(None);
    }
    let wrong = |problem: String, expected: String| {
        Err(Error::Net { net: net.name().to_owned(), problem, expected })
    };
    let shape = if net.input_shape.is_empty() {
        if net.input_dim.len() != 4 * inputs {
            return wrong(
                format!("{} input_dim for {inputs} input", net.input_dim.len()),
                format!("{}, four for each input", 4 * inputs),
            );
        }
        let dims = net.input_dim.chunks(4);
        dims.map(|d| BlobShape { dim: d.iter().map(|&d| d.into()).collect() }).collect()
    } else {
        if net.input_shape.len() != inputs {
            return wrong(
                format!("{} input_shape for {inputs} input", net.input_shape.len()),
                "one for each input".into(),
            );
        }
        net.input_shape.clone()
    };
    Ok(Some(LayerParameter {
        name: Some("input".into()),
        type_name: Some("Input".into()),
        top: net.input.clone(),
        input_param: Some(InputParameter { shape }),
        ..LayerParameter::default()
    }))
}

/// Clears `lr_mult` and `decay_mult` of a BatchNorm layer with exactly three `param`.
///
/// Its blobs are statistics, not learned; nets written before 2016-09 had to say so themselves, and
/// Caffe corrects those that said it wrongly. Names and sharing stay.
pub fn batch_norm_params(layer: &mut LayerParameter) {
    if layer.type_name() == "BatchNorm" && layer.param.len() == 3 {
        for spec in &mut layer.param {
            spec.lr_mult = Some(0.0);
            spec.decay_mult = Some(0.0);
        }
    }
}
