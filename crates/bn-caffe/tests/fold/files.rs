//! What folding does to the files: everything else stays, and what cannot be is said.

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::fold::{Outcome as Place, Reason, fold};
use bn_caffe::proto::raw::RawField;
use bn_caffe::text::Document;
use bn_caffe::weights::{Caffemodel, WeightLayer};
use libtest_mimic::{Failed, Trial};

use crate::{Outcome, ensure};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("the_rest_of_both_files_stays", the_rest_stays),
        Trial::test("a_scale_keeps_the_fields_of_its_layer", scale_keeps_fields),
        Trial::test("precision_of_the_file_stays", precision_stays),
        Trial::test("what_is_not_finite_is_left", not_finite),
        Trial::test("ambiguous_names_are_left", ambiguous),
        Trial::test("shared_statistics_are_folded_where_each_has_its_own", shared_statistics),
    ]
}

fn blob(dims: &[usize], values: &[f32]) -> Result<Blob, Failed> {
    Ok(Blob::from_f32(Shape::new(dims)?, values)?)
}

/// A BatchNorm of one channel, mean 1, variance 4.
fn statistics() -> Result<Vec<Blob>, Failed> {
    Ok(vec![blob(&[1], &[2.0])?, blob(&[1], &[8.0])?, blob(&[1], &[2.0])?])
}

fn model() -> Result<Caffemodel, Failed> {
    let mut weights = Caffemodel::default();
    weights.push(WeightLayer::new("fc", "InnerProduct", &[blob(&[1, 1], &[6.0])?]));
    weights.push(WeightLayer::new("bn", "BatchNorm", &statistics()?));
    weights.push(WeightLayer::new("other", "PReLU", &[blob(&[1], &[0.5])?]));
    Ok(weights)
}

const NET: &str = "# a comment
name: \"net\"  input: \"x\"  input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1
layer { name: \"fc\"  type: \"InnerProduct\"
  bottom: \"x\" top: \"y\" inner_product_param { num_output: 1  bias_term: false } }
# of the statistics
layer {
  name: \"bn\" # remark
  type: \"BatchNorm\"
  bottom: \"y\"
  top: \"z\"
  batch_norm_param {
    eps: 0
  }
}
layer{name:\"other\" type:\"PReLU\" bottom:\"z\" top:\"z\"}  # end";

fn the_rest_stays() -> Outcome {
    let mut weights = model()?;
    // A field of a fork in the layer that changes, and one in another.
    for name in ["fc", "other"] {
        let layer = weights.layer_mut(name).ok_or("no layer")?;
        layer.edit(|message| {
            message.replace_all(9000, [RawField::varint(9000, 7)]);
            Ok(())
        })?;
    }
    let folded = fold(&Document::parse(NET)?, &weights)?;
    let text = String::from_utf8(folded.prototxt)?;
    let start = NET.find("layer {\n  name: \"bn\"").ok_or("no layer")?;
    let end = NET.find("layer{name").ok_or("no layer")?;
    let expected = [&NET[..start], &NET[end..]].concat();
    let expected = expected.replace("bias_term: false", "bias_term: true");
    let expected = expected.replace("top: \"y\"", "top: \"z\"");
    ensure(text == expected, || text.clone())?;
    let names: Vec<_> = folded.weights.layers().map(WeightLayer::name).collect();
    ensure(names == ["fc", "other"], || format!("{names:?}"))?;
    let [before, after] =
        [&weights, &folded.weights].map(|w| w.layer("other").map(WeightLayer::body));
    ensure(before == after, || "another layer has changed".into())?;
    let fork = folded.weights.layer("fc").ok_or("no fc")?.body();
    let fork = bn_caffe::proto::raw::RawMessage::parse(&fork)?;
    ensure(fork.count(9000) == 1, || "the fork's field is gone".into())
}

fn scale_keeps_fields() -> Outcome {
    let net = NET.replace("eps: 0\n", "eps: 0 use_global_stats: true\n").replace(
        "  top: \"z\"\n",
        "  top: \"z\"\n  param { lr_mult: 0 }\n  include { phase: TEST }\n",
    );
    // Nothing takes the map: the layer before is read by another one.
    let net = format!("{net}\nlayer {{ name: \"s\" type: \"Silence\" bottom: \"y\" }}");
    let folded = fold(&Document::parse(net)?, &model()?)?;
    let text = String::from_utf8(folded.prototxt)?;
    let layer = "layer {
  name: \"bn\" # remark
  type: \"Scale\"
  scale_param { bias_term: true }
  bottom: \"y\"
  top: \"z\"
  include { phase: TEST }
}";
    ensure(text.contains(layer), || text.clone())?;
    let blobs = folded.weights.layer("bn").ok_or("no bn")?.blobs()?;
    let values: Vec<_> = blobs.iter().flat_map(Blob::to_f32).collect();
    ensure(values == [0.5, -0.5], || format!("{values:?}"))?;
    let kind = folded.weights.layer("bn").map(WeightLayer::type_name);
    ensure(kind == Some("Scale"), || format!("{kind:?}"))
}

fn precision_stays() -> Outcome {
    let mut weights = Caffemodel::default();
    let third = 1.0 / 3.0;
    let double = Blob::from_f64(Shape::new([1, 1])?, &[third])?;
    weights.push(WeightLayer::new("fc", "InnerProduct", &[double]));
    weights.push(WeightLayer::new("bn", "BatchNorm", &statistics()?));
    let folded = fold(&Document::parse(NET)?, &weights)?;
    let blobs = folded.weights.layer("fc").ok_or("no fc")?.blobs()?;
    ensure(blobs[0].to_f64() == [third * 0.5], || format!("{:?}", blobs[0].to_f64()))?;
    ensure(blobs[1].element() == blobs[0].element(), || "the bias has another precision".into())
}

fn not_finite() -> Outcome {
    let mut weights = model()?;
    let bn = weights.layer_mut("bn").ok_or("no bn")?;
    bn.set_blobs(&[blob(&[1], &[0.0])?, blob(&[1], &[-1.0])?, blob(&[1], &[1.0])?])?;
    let folded = fold(&Document::parse(NET)?, &weights)?;
    let expected = Place::Left { reason: Reason::NotFinite { channel: Some(0) } };
    ensure(folded.decisions[0].outcome == expected, || format!("{:?}", folded.decisions))?;
    ensure(folded.prototxt == NET.as_bytes(), || "the text has changed".into())?;
    ensure(folded.weights.to_bytes() == weights.to_bytes(), || "the weights have changed".into())
}

fn ambiguous() -> Outcome {
    let twice = format!("{NET}\nlayer {{ name: \"bn\" type: \"ReLU\" bottom: \"z\" top: \"z\" }}");
    let folded = fold(&Document::parse(twice)?, &{
        let mut weights = Caffemodel::default();
        weights.push(WeightLayer::new("fc", "InnerProduct", &[blob(&[1, 1], &[6.0])?]));
        weights
    })?;
    let reason = Reason::SameName { layer: "bn".into() };
    ensure(folded.decisions[0].outcome == Place::Left { reason }, || {
        format!("{:?}", folded.decisions)
    })?;
    let mut weights = model()?;
    weights.remove("bn");
    let folded = fold(&Document::parse(NET)?, &weights)?;
    let reason = Reason::NoWeights { layer: "bn".into() };
    ensure(folded.decisions[0].outcome == Place::Left { reason }, || {
        format!("{:?}", folded.decisions)
    })
}

/// Two BatchNorm with the same three blobs, the second behind a ReLU.
fn shared_statistics() -> Outcome {
    let names = "param { name: 'm' } param { name: 'v' } param { name: 'f' }";
    let net =
        format!("{NET}\nlayer {{ name: 'late' type: 'BatchNorm' bottom: 'z' top: 'w' {names} }}");
    let net = net.replace("  top: \"z\"\n", &format!("  top: \"z\" {names}\n"));
    let document = Document::parse(net)?;
    let mut weights = model()?;
    let folded = fold(&document, &weights)?;
    let reason = Reason::SharedValues { layer: "bn".into(), with: "late".into() };
    ensure(folded.decisions[0].outcome == Place::Left { reason }, || {
        format!("{:?}", folded.decisions)
    })?;
    weights.push(WeightLayer::new("late", "BatchNorm", &statistics()?));
    let folded = fold(&document, &weights)?;
    let places: Vec<_> = folded.decisions.iter().map(|d| &d.outcome).collect();
    ensure(matches!(places[..], [Place::Before { .. }, Place::Scale { .. }]), || {
        format!("{places:?}")
    })
}
