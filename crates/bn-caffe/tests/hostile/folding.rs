//! Damaged nets and weights folded, exported, imported and run.

use std::collections::BTreeMap;

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::exchange::{export, import};
use bn_caffe::fold::fold;
use bn_caffe::layer::Numerics;
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::run::{Runner, Tensor};
use bn_caffe::text::Document;
use bn_caffe::weights::{Caffemodel, WeightLayer};

use crate::damaged;

/// Every kind of layer that folding knows, and every place that a map can go to.
const NET: &str = "name: \"n\" layer { name: \"in\" type: \"Input\" top: \"x\" }
layer { name: \"c\" type: \"Convolution\" bottom: \"x\" top: \"c\" convolution_param {
  num_output: 2 kernel_size: 1 group: 2 bias_term: false } }
layer { name: \"b1\" type: \"BatchNorm\" bottom: \"c\" top: \"c\" param { lr_mult: 0 } }
layer { name: \"s1\" type: \"Scale\" bottom: \"c\" top: \"d\" scale_param { bias_term: true } }
layer { name: \"r\" type: \"ReLU\" bottom: \"d\" top: \"d\" }
layer { name: \"b2\" type: \"BatchNorm\" bottom: \"d\" top: \"e\" batch_norm_param { eps: 0.5 } }
layer { name: \"t\" type: \"Deconvolution\" bottom: \"e\" top: \"f\" convolution_param {
  num_output: 2 kernel_size: 1 } }
layer { name: \"b3\" type: \"BatchNorm\" bottom: \"f\" top: \"f\" }
layer { name: \"bi\" type: \"Bias\" bottom: \"f\" top: \"f\" }
layer { name: \"p\" type: \"InnerProduct\" bottom: \"f\" top: \"g\"
  inner_product_param { num_output: 2 transpose: true } }
layer { name: \"b4\" type: \"BatchNorm\" bottom: \"x\" top: \"h\" }
layer { name: \"sum\" type: \"Eltwise\" bottom: \"h\" bottom: \"x\" top: \"i\" }";

const RUNNABLE: &str = "layer { name: \"in\" type: \"Input\" top: \"x\" }
layer { name: \"b1\" type: \"BatchNorm\" bottom: \"x\" top: \"x\" param { name: \"m\" lr_mult: 0 } }
layer { name: \"s1\" type: \"Scale\" bottom: \"x\" top: \"y\" scale_param { axis: 1 num_axes: 1
  filler { type: \"xavier\" } bias_term: true } propagate_down: true }
layer { name: \"r\" type: \"ReLU\" bottom: \"y\" top: \"y\" relu_param { negative_slope: 0.1 } }
layer { name: \"sum\" type: \"Eltwise\" bottom: \"y\" bottom: \"x\" top: \"z\"
  eltwise_param { operation: SUM coeff: 1 coeff: -1 } }";

fn blob(dims: &[usize]) -> Blob {
    let values: Vec<f32> = (0..dims.iter().product()).map(|i| i as f32 + 0.5).collect();
    Blob::from_f32(Shape::new(dims).expect("small"), &values).expect("fits")
}

fn weights() -> Caffemodel {
    let mut weights = Caffemodel::default();
    weights.push(WeightLayer::new("c", "Convolution", &[blob(&[2, 1, 1, 1])]));
    for name in ["b1", "b2", "b3", "b4"] {
        weights.push(WeightLayer::new(name, "BatchNorm", &[blob(&[2]), blob(&[2]), blob(&[1])]));
    }
    weights.push(WeightLayer::new("s1", "", &[blob(&[2]), blob(&[2])]));
    weights.push(WeightLayer::new("t", "Deconvolution", &[blob(&[2, 2, 1, 1]), blob(&[2])]));
    weights.push(WeightLayer::new("bi", "Bias", &[blob(&[2])]));
    weights.push(WeightLayer::new("p", "InnerProduct", &[blob(&[4, 2]), blob(&[2])]));
    weights
}

/// Folds and exports; whether folding took the files.
fn exercise(text: &[u8], weights: &Caffemodel) -> bool {
    let Ok(document) = Document::parse(text) else { return false };
    let Ok(net) = Net::from_document(&document) else { return false };
    if let Ok(found) = export(&net, weights)
        && let Ok(file) = found.to_safetensors()
    {
        let _ = import(&net, weights, &file);
    }
    let Ok(folded) = fold(&document, weights) else { return false };
    Net::parse(folded.prototxt).expect("a folded net is readable");
    Caffemodel::parse(folded.weights.to_bytes()).expect("folded weights are readable");
    let _ = folded.decisions.iter().map(ToString::to_string).collect::<Vec<_>>();
    true
}

fn run(text: &[u8], weights: Option<&Caffemodel>) -> bool {
    let Ok(net) = Net::parse(text) else { return false };
    let x = Tensor::new(vec![3, 2, 2], (0..12).map(|i| i as f32).collect()).expect("12 values");
    let inputs = BTreeMap::from([("x".to_owned(), x)]);
    let Ok(mut runner) = Runner::new(&net, Phase::Train, weights, inputs, Numerics::Exact, true)
    else {
        return false;
    };
    if runner.forward().is_ok() {
        let _ = runner.backward(&BTreeMap::from([("z".to_owned(), vec![1.0; 12])]));
    }
    let _ = (runner.blobs(), runner.diffs(), runner.param_diffs(), runner.warnings());
    runner.weights().is_ok()
}

#[test]
fn damaged_weights_are_folded_exported_and_run() {
    let sample = weights().to_bytes();
    assert!(exercise(NET.as_bytes(), &weights()) && run(RUNNABLE.as_bytes(), Some(&weights())));
    let folded = damaged(&sample, 20_000, 0xf01d, |bytes| {
        let Ok(weights) = Caffemodel::parse(bytes.to_vec()) else { return false };
        run(RUNNABLE.as_bytes(), Some(&weights));
        exercise(NET.as_bytes(), &weights)
    });
    assert!(folded > 2_000, "only {folded} of 20000 were folded");
}

#[test]
fn damaged_nets_are_folded_exported_and_run() {
    let folded = damaged(NET.as_bytes(), 20_000, 0xfa17, |text| exercise(text, &weights()));
    assert!(folded > 500, "only {folded} of 20000 were folded");
    // A net that runs at all is rarer: most damage leaves a blob without a producer.
    let ran = damaged(RUNNABLE.as_bytes(), 50_000, 0x2a17, |text| run(text, None));
    assert!(ran > 100, "only {ran} of 50000 were run");
}

#[test]
fn a_damaged_safetensors_file_is_refused_or_imported() {
    let net = Net::parse(NET).expect("a net");
    let file = export(&net, &weights()).expect("exports").to_safetensors().expect("writes");
    damaged(&file, 20_000, 0x1387, |bytes| {
        let net = Net::parse(NET).expect("a net");
        import(&net, &weights(), bytes).is_ok()
    });
}
