//! Nets made here, one for each situation.

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::fold::{Folded, Outcome as Place, fold};
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::Document;
use bn_caffe::weights::{Caffemodel, WeightLayer};
use libtest_mimic::Trial;

use crate::reference::{Tensor, run};
use crate::{Outcome, ensure};

/// A net, what its decisions say, and the layers that are left.
struct Case {
    name: &'static str,
    /// Channels of the input blob `x`, which is 2 × channels × 6 × 5.
    channels: usize,
    layers: &'static str,
    decisions: &'static [&'static str],
    left: &'static [&'static str],
}

const BN: &str =
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'c' batch_norm_param { eps: 0.01 } }";
const SCALE: &str =
    "layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param { bias_term: true } }";

/// `$conv`, `$bn` and `$scale` stand for the layers above and a convolution of 4 outputs.
const CASES: &[Case] = &[
    Case {
        name: "in_place_chain",
        channels: 3,
        layers: "$conv $bn $scale layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }",
        decisions: &["bn + s → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv", "r"],
    },
    Case {
        name: "blobs_of_their_own_and_a_bias",
        channels: 3,
        layers: "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c'
                    convolution_param { num_output: 4 kernel_size: 3 stride: 2 dilation: 1 } }
                 layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'd' }
                 layer { name: 's' type: 'Scale' bottom: 'd' top: 'e' }
                 layer { name: 'b' type: 'Bias' bottom: 'e' top: 'y' }",
        decisions: &["bn + s + b → conv (Convolution before it)"],
        left: &["in", "conv"],
    },
    Case {
        name: "groups",
        channels: 4,
        layers: "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c' convolution_param {
                    num_output: 6 kernel_size: 3 group: 2 bias_term: false } } $bn $scale",
        decisions: &["bn + s → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv"],
    },
    Case {
        name: "depthwise",
        channels: 4,
        layers: "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c' convolution_param {
                    num_output: 4 kernel_h: 3 kernel_w: 1 pad: 1 group: 4 bias_term: false } }
                 $bn $scale",
        decisions: &["bn + s → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv"],
    },
    Case {
        name: "deconvolution_with_groups",
        channels: 4,
        layers: "layer { name: 'conv' type: 'Deconvolution' bottom: 'x' top: 'c' convolution_param {
                    num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 bias_term: false } }
                 $bn $scale",
        decisions: &["bn + s → conv (Deconvolution before it, bias_term added)"],
        left: &["in", "conv"],
    },
    Case {
        name: "inner_product",
        channels: 3,
        layers: "layer { name: 'conv' type: 'InnerProduct' bottom: 'x' top: 'c'
                    inner_product_param { num_output: 5 } } $bn $scale",
        decisions: &["bn + s → conv (InnerProduct before it)"],
        left: &["in", "conv"],
    },
    Case {
        name: "inner_product_transposed",
        channels: 3,
        layers: "layer { name: 'conv' type: 'InnerProduct' bottom: 'x' top: 'c'
                    inner_product_param { num_output: 5 transpose: true bias_term: false } }
                 $bn $scale",
        decisions: &["bn + s → conv (InnerProduct before it, bias_term added)"],
        left: &["in", "conv"],
    },
    Case {
        name: "into_the_convolution_after",
        channels: 4,
        layers: "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'c' } $scale
                 layer { name: 'next' type: 'Convolution' bottom: 'c' top: 'y' convolution_param {
                    num_output: 6 kernel_size: 3 group: 2 bias_term: false } }",
        decisions: &["bn + s → next (Convolution after it, bias_term added); layer before: \"in\" \
                      (Input) cannot take it"],
        left: &["in", "next"],
    },
    Case {
        name: "into_the_inner_product_after",
        channels: 4,
        layers: "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'c' } $scale
                 layer { name: 'next' type: 'InnerProduct' bottom: 'c' top: 'y'
                    inner_product_param { num_output: 3 } }",
        decisions: &["bn + s → next (InnerProduct after it); layer before: \"in\" (Input) cannot \
                      take it"],
        left: &["in", "next"],
    },
    Case {
        name: "into_the_transposed_inner_product_after",
        channels: 4,
        layers: "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }
                 layer { name: 'next' type: 'InnerProduct' bottom: 'x' top: 'y'
                    inner_product_param { num_output: 3 transpose: true } }",
        decisions: &["bn → next (InnerProduct after it); layer before: \"in\" (Input) cannot take it"],
        left: &["in", "next"],
    },
    Case {
        name: "into_a_deconvolution_of_one_tap_after",
        channels: 4,
        layers: "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }
                 layer { name: 'next' type: 'Deconvolution' bottom: 'x' top: 'y' convolution_param {
                    num_output: 6 kernel_size: 1 group: 2 } }",
        decisions: &["bn → next (Deconvolution after it); layer before: \"in\" (Input) cannot take it"],
        left: &["in", "next"],
    },
    Case {
        name: "both_sides_of_one_convolution",
        channels: 3,
        layers: "layer { name: 'first' type: 'BatchNorm' bottom: 'x' top: 'x' }
                 layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c'
                    convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
                 $bn $scale",
        decisions: &[
            "first → conv (Convolution after it, bias_term added); layer before: \"in\" (Input) \
             cannot take it",
            "bn + s → conv (Convolution before it)",
        ],
        left: &["in", "conv"],
    },
    Case {
        name: "one_scale_where_the_next_layer_pads",
        channels: 3,
        layers: "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'd' }
                 layer { name: 's' type: 'Scale' bottom: 'd' top: 'e' }
                 layer { name: 'next' type: 'Convolution' bottom: 'e' top: 'y'
                    convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }",
        decisions: &["bn + s → bn (one Scale); layer before: \"in\" (Input) cannot take it; layer \
                      after: \"next\" pads with zeros, and the shift is not 0"],
        left: &["in", "bn", "next"],
    },
    Case {
        name: "one_scale_where_the_raw_output_is_read_too",
        channels: 3,
        layers: "$conv
                 layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'd' }
                 layer { name: 's' type: 'Scale' bottom: 'd' top: 'd' scale_param { bias_term: true } }
                 layer { name: 'sum' type: 'Eltwise' bottom: 'c' bottom: 'd' top: 'y' }",
        decisions: &["bn + s → bn (one Scale); layer before: blob \"c\" is also read by \"sum\"; layer \
                      after: \"sum\" (Eltwise) cannot take it"],
        left: &["in", "conv", "bn", "sum"],
    },
    Case {
        name: "normalised_values_read_before_the_scale",
        channels: 3,
        layers: "$conv $bn
                 layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'r' }
                 layer { name: 's' type: 'Scale' bottom: 'c' top: 'e' }
                 layer { name: 'sum' type: 'Eltwise' bottom: 'r' bottom: 'e' top: 'y' }",
        decisions: &["bn → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv", "r", "s", "sum"],
    },
    Case {
        name: "an_output_that_feeds_a_branch",
        channels: 3,
        layers: "$conv $bn $scale
                 layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'r' }
                 layer { name: 'sum' type: 'Eltwise' bottom: 'r' bottom: 'c' top: 'y' }",
        decisions: &["bn + s → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv", "r", "sum"],
    },
    Case {
        name: "weights_that_two_convolutions_share",
        channels: 3,
        layers: "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c' param { name: 'w' }
                    convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
                 $bn $scale
                 layer { name: 'twin' type: 'Convolution' bottom: 'x' top: 'd' param { name: 'w' }
                    convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
                 layer { name: 'sum' type: 'Eltwise' bottom: 'c' bottom: 'd' top: 'y' }",
        decisions: &["bn + s → bn (one Scale); layer before: \"conv\" shares its weights with \
                      \"twin\"; layer after: \"sum\" (Eltwise) cannot take it"],
        left: &["in", "conv", "bn", "twin", "sum"],
    },
    Case {
        name: "several_maps_in_a_row",
        channels: 3,
        layers: "$conv $bn $scale
                 layer { name: 'bn2' type: 'BatchNorm' bottom: 'c' top: 'y' }",
        decisions: &["bn + s + bn2 → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv"],
    },
    Case {
        name: "a_scale_that_is_not_per_channel",
        channels: 3,
        layers: "$conv $bn
                 layer { name: 's' type: 'Scale' bottom: 'c' bottom: 'c' top: 'y'
                    scale_param { axis: 0 } }",
        decisions: &["bn → conv (Convolution before it, bias_term added)"],
        left: &["in", "conv", "s"],
    },
    Case {
        name: "statistics_of_the_batch",
        channels: 3,
        layers: "$conv
                 layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'c'
                    batch_norm_param { use_global_stats: false } } $scale",
        decisions: &["bn: left as it was: use_global_stats: false, so it is no fixed map"],
        left: &["in", "conv", "bn", "s"],
    },
    Case {
        name: "a_blob_that_training_reads",
        channels: 3,
        layers: "$conv
                 layer { name: 'loss' type: 'EuclideanLoss' bottom: 'c' bottom: 'c' top: 'l'
                    include { phase: TRAIN } }
                 layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'd' }",
        decisions: &["bn → bn (one Scale); layer before: blob \"c\" is read by \"loss\" in another \
                      phase; layer after: there is none"],
        left: &["in", "conv", "loss", "bn"],
    },
];

const CONV: &str = "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'c' # first
    convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } }";

pub fn trials() -> Vec<Trial> {
    CASES.iter().map(|case| Trial::test(case.name, || check(case))).collect()
}

/// The text of a case's net.
fn text(case: &Case) -> String {
    let layers = case.layers.replace("$conv", CONV).replace("$bn", BN).replace("$scale", SCALE);
    format!(
        "name: 'net'\nlayer {{ name: 'in' type: 'Input' top: 'x' input_param {{ shape {{ dim: 2 dim: \
         {} dim: 6 dim: 5 }} }} }}\n{layers}\n",
        case.channels
    )
}

/// Weights for every layer: noise, with variances above 0.
pub fn weights(net: &Net, channels: usize) -> Result<Caffemodel, libtest_mimic::Failed> {
    let mut weights = Caffemodel::default();
    let mut current = channels;
    for (seed, layer) in net.layers.iter().enumerate() {
        let noise = |dims: &[usize], seed: u64| Tensor::noise(dims, seed).values;
        let seed = 10 * seed as u64 + 1;
        let blob = |dims: &[usize], values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            Blob::from_f32(Shape::new(dims)?, &values)
        };
        let p = layer.convolution();
        let taps = [
            p.kernel_h.or(p.kernel_size.first().copied()),
            p.kernel_w.or(p.kernel_size.first().copied()),
        ]
        .map(|size| size.unwrap_or(1) as usize);
        let (outputs, group) = (p.num_output() as usize, p.group() as usize);
        let fan = layer.inner_product().num_output() as usize;
        let mut dims: Vec<Vec<usize>> = match layer.type_name() {
            "Convolution" => vec![vec![outputs, current / group, taps[0], taps[1]]],
            "Deconvolution" => vec![vec![current, outputs / group, taps[0], taps[1]]],
            "InnerProduct" if layer.inner_product().transpose() => vec![vec![current * 30, fan]],
            "InnerProduct" => vec![vec![fan, current * 30]],
            "BatchNorm" => vec![vec![current], vec![current], vec![1]],
            "Scale" if layer.bottoms().len() == 1 => vec![vec![current]],
            "Bias" => vec![vec![current]],
            _ => continue,
        };
        current = match layer.type_name() {
            "InnerProduct" => fan,
            "Convolution" | "Deconvolution" => outputs,
            _ => current,
        };
        if layer.blob_count() == Some(2) {
            dims.push(vec![current]);
        }
        let mut blobs = Vec::new();
        for (n, dims) in dims.iter().enumerate() {
            let mut values = noise(dims, seed + n as u64);
            if layer.type_name() == "BatchNorm" && n > 0 {
                values.iter_mut().for_each(|v| *v = v.abs() + 0.3);
            }
            blobs.push(blob(dims, values)?);
        }
        // Layers that share have the same values.
        if layer.name() == "twin" {
            let first: Option<&WeightLayer> = weights.layer("conv");
            blobs = first.ok_or("no twin")?.blobs()?;
        }
        weights.push(WeightLayer::new(layer.name(), layer.type_name(), &blobs));
    }
    Ok(weights)
}

fn check(case: &Case) -> Outcome {
    let text = text(case);
    let document = Document::parse(text.clone())?;
    let net = Net::from_document(&document)?;
    // A branch beside the chain begins with the input.
    let weights = weights(&net, case.channels)?;
    let Folded { prototxt, weights: folded, decisions } = fold(&document, &weights)?;
    let shown = String::from_utf8_lossy(&prototxt).into_owned();
    let lines: Vec<_> = decisions.iter().map(ToString::to_string).collect();
    ensure(lines == case.decisions, || format!("{lines:#?}\n{shown}"))?;
    let after = Net::parse(prototxt.clone())?;
    let names: Vec<_> = after.layers.iter().map(bn_caffe::net::Layer::name).collect();
    ensure(names == case.left, || format!("{names:?}\n{shown}"))?;
    ensure(shown.contains("# first") == text.contains("# first"), || shown.clone())?;
    if decisions.iter().any(|d| matches!(d.outcome, Place::Left { .. })) {
        ensure(shown == text && folded.to_bytes() == weights.to_bytes(), || shown.clone())?;
        return Ok(());
    }
    // The Scale of two bottoms squares its input; the reference does not know it.
    if after.layers.iter().any(|layer| layer.type_name() == "Scale" && layer.bottoms().len() > 1) {
        return Ok(());
    }
    let input = Tensor::noise(&[2, case.channels, 6, 5], 99);
    let (before, after) =
        (run(text.as_bytes(), &weights, &input)?, run(&prototxt, &folded, &input)?);
    let end = net.for_phase(Phase::Test)?;
    let end = end.layers.last().and_then(|layer| layer.tops().first()).ok_or("no end")?;
    for (name, value) in &after {
        // A name that folding moved to other values is the end of a chain.
        let distance = before.get(name).ok_or("a new name")?.distance(value);
        ensure(distance < 1e-6 || (name != end && is_inner(case, name)), || {
            format!("{name} is off by {distance:e}\n{shown}")
        })?;
    }
    ensure(after.contains_key(end), || format!("{end} is gone\n{shown}"))
}

/// The input of a map that went to the layer after keeps its name and its raw values.
fn is_inner(case: &Case, name: &str) -> bool {
    name == "x" && case.layers.contains("bottom: 'x' top: 'x'")
}
