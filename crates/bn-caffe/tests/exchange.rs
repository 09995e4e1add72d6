//! Statistics and parameters to PyTorch's names and back.

use std::collections::HashMap;

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::exchange::{Import, export, import};
use bn_caffe::layer::{BatchNorm, Numerics, Statistics};
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::weights::{Caffemodel, WeightLayer};
use bn_core::InOut;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn blob(values: &[f32]) -> Blob {
    Blob::from_f32(Shape::new([values.len()]).unwrap(), values).unwrap()
}

const NET: &str = "
    layer { name: 'data' type: 'Input' top: 'x' }
    layer { name: 'a/bn' type: 'BatchNorm' bottom: 'x' top: 'x' batch_norm_param { eps: 0.001 } }
    layer { name: 'a/scale' type: 'Scale' bottom: 'x' top: 'x' scale_param { bias_term: true } }
    layer { name: 'b' type: 'BatchNorm' bottom: 'x' top: 'y' }
    layer { name: 'b_scale' type: 'Scale' bottom: 'y' top: 'y' }
    layer { name: 'b_bias' type: 'Bias' bottom: 'y' top: 'y' }
    layer { name: 'c' type: 'BatchNorm' bottom: 'y' top: 'z' }";

fn model() -> (Net, Caffemodel) {
    let statistics = |mean: f32| [blob(&[mean, 1.0]), blob(&[3.0, 0.7]), blob(&[999.9824])];
    let mut weights = Caffemodel::default();
    weights.push(WeightLayer::new("a/bn", "BatchNorm", &statistics(0.3)));
    weights.push(WeightLayer::new("a/scale", "Scale", &[blob(&[1.5, -2.0]), blob(&[0.1, 0.2])]));
    weights.push(WeightLayer::new("b", "BatchNorm", &statistics(-5.0)));
    weights.push(WeightLayer::new("b_scale", "Scale", &[blob(&[4.0, 5.0])]));
    weights.push(WeightLayer::new("b_bias", "Bias", &[blob(&[6.0, 7.0])]));
    weights.push(WeightLayer::new("c", "BatchNorm", &statistics(2.0)));
    (Net::parse(NET).unwrap(), weights)
}

/// Names and values.
type Tensors<'a> = &'a [(&'a str, &'a [f32])];

/// A file of f32 tensors.
fn file(tensors: Tensors<'_>) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, v)| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
        (*name, TensorView::new(Dtype::F32, vec![values.len()], bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn names_values_and_eps_are_pytorchs() {
    let (net, weights) = model();
    let bytes = export(&net, &weights).unwrap().to_safetensors().unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[2][..]));
        tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    assert_eq!(values("a/bn.weight"), [1.5, -2.0]);
    assert_eq!(values("a/bn.bias"), [0.1, 0.2]);
    let scale = 1.0f32 / 999.9824;
    assert_eq!(values("a/bn.running_mean"), [0.3 * scale, scale]);
    assert_eq!(values("a/bn.running_var"), [3.0 * scale, 0.7 * scale]);
    assert_eq!((values("b.weight"), values("b.bias")), (vec![4.0, 5.0], vec![6.0, 7.0]));
    assert!(tensors.tensor("c.weight").is_err() && tensors.tensor("c.bias").is_err());
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: &HashMap<_, _> = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["a/bn.eps"].parse(), Ok(f64::from(0.001f32)));
    assert_eq!(metadata["format"], "pt");
}

/// TEST outputs of the first BatchNorm.
fn normalised(net: &Net, weights: &Caffemodel) -> Vec<f32> {
    let parameter = &net.layer("a/bn").unwrap().parameter;
    let shape = [1, 2, 3];
    let mut layer = BatchNorm::<f32>::new(parameter, Phase::Test, &shape, Numerics::Exact).unwrap();
    let mut blobs = Statistics::from_blobs(&weights.layer("a/bn").unwrap().blobs().unwrap());
    let mut y = vec![0.1, 0.2, 0.3, -4.0, 5.0, 6.0];
    layer.forward(&mut blobs, &shape, InOut::InPlace(&mut y)).unwrap();
    y
}

#[test]
fn what_has_not_changed_is_not_touched_and_what_has_is_exact() {
    let (net, weights) = model();
    let exported = export(&net, &weights).unwrap();
    let Import { weights: same, changed, unchanged, missing, other_eps } =
        import(&net, &weights, &exported.to_safetensors().unwrap()).unwrap();
    assert_eq!(same.to_bytes(), weights.to_bytes());
    assert_eq!((changed.len(), unchanged.len(), missing.len(), other_eps.len()), (0, 3, 0, 0));

    // One changed bit makes all statistics of the layer new ones, of factor 1.
    let mut other = exported.clone();
    other.layers[0].running_mean[1] = f64::from((other.layers[0].running_mean[1] as f32).next_up());
    other.layers[1].bias = Some(vec![-1.0, -2.0]);
    let done = import(&net, &weights, &other.to_safetensors().unwrap()).unwrap();
    assert_eq!((done.changed, done.unchanged), (vec!["a/bn".into(), "b".into()], vec!["c".into()]));
    assert_eq!(export(&net, &done.weights).unwrap(), other);
    let blobs = done.weights.layer("a/bn").unwrap().blobs().unwrap();
    assert_eq!(blobs[2].to_f32(), [1.0]);
    // The channel that has its old statistics gives its old outputs to the bit.
    assert_eq!(normalised(&net, &done.weights)[..3], normalised(&net, &weights)[..3]);
    for untouched in ["a/scale", "b", "b_scale", "c"] {
        let [old, new] = [&weights, &done.weights].map(|w| w.layer(untouched).unwrap().body());
        assert_eq!(old, new, "{untouched}");
    }
}

#[test]
fn a_file_of_some_layers_leaves_the_others() {
    let (net, weights) = model();
    let some = file(&[("c.running_mean", &[1.0, 2.0]), ("c.running_var", &[3.0, 4.0])]);
    let done = import(&net, &weights, &some).unwrap();
    assert_eq!((done.changed, done.missing), (vec!["c".into()], vec!["a/bn".into(), "b".into()]));
    // Ones and zeros need no layer that would hold them.
    let neutral = file(&[("c.weight", &[1.0, 1.0]), ("c.bias", &[0.0, 0.0])]);
    assert_eq!(import(&net, &weights, &neutral).unwrap().unchanged, ["c"]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (net, weights) = model();
    let two: &[f32] = &[1.0, 1.0];
    let cases: [(Tensors<'_>, [&str; 2]); 7] = [
        (&[("d.weight", two)], ["d.weight", "no BatchNorm"]),
        (&[("c.running_mean", two)], ["\"c\"", "running_var"]),
        (&[("c.running_mean", two), ("c.running_var", &[1.0, -1.0])], ["running_var", "-1"]),
        (&[("c.running_mean", &[f32::NAN, 1.0]), ("c.running_var", two)], ["NaN", "finite"]),
        (&[("b.weight", &[1.0; 3])], ["3 values", "2 channels"]),
        (&[("c.weight", &[2.0, 1.0])], ["\"c\"", "no layer"]),
        (&[("c.bias", &[0.0, 1.0])], ["\"c\"", "no layer"]),
    ];
    for (tensors, words) in cases {
        let error = import(&net, &weights, &file(tensors)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let whole = file(&[("c.weight", two)]);
    for end in 0..whole.len() {
        assert!(import(&net, &weights, &whole[..end]).is_err(), "{end}");
    }
}
