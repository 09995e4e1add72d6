//! Nets run as a whole, against the layers run one by one and against numbers worked out by hand.

use std::collections::BTreeMap;

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::layer::{BatchNorm, Learned, Numerics, Scale, Wanted};
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::run::{Runner, Tensor};
use bn_caffe::weights::{Caffemodel, WeightLayer};
use bn_core::InOut;
use bn_naive::NaiveBackend;

const SHAPE: [usize; 3] = [3, 2, 4];

fn both() -> [Numerics<'static, f64>; 2] {
    [Numerics::Exact, Numerics::Fast(&NaiveBackend)]
}

fn noise(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f64 / 7.0 - 1.0).collect()
}

fn inputs(named: &[(&str, &[usize], Vec<f64>)]) -> BTreeMap<String, Tensor<f64>> {
    let tensor = |(name, shape, values): &(&str, &[usize], Vec<f64>)| {
        ((*name).to_owned(), Tensor::new(shape.to_vec(), values.clone()).unwrap())
    };
    named.iter().map(tensor).collect()
}

fn x() -> BTreeMap<String, Tensor<f64>> {
    inputs(&[("x", &SHAPE, noise(24, 1))])
}

fn tops(name: &str, values: Vec<f64>) -> BTreeMap<String, Vec<f64>> {
    BTreeMap::from([(name.to_owned(), values)])
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} and {b}");
    }
}

const RESIDUAL: &str = "
    layer { name: 'data' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 2 dim: 4 } } }
    layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y' }
    layer { name: 'scale' type: 'Scale' bottom: 'y' top: 'y' scale_param { bias_term: true
            filler { type: 'uniform' min: 0.5 max: 2 } bias_filler { type: 'gaussian' } } }
    layer { name: 'relu' type: 'ReLU' bottom: 'y' top: 'y' relu_param { negative_slope: 0.25 } }
    layer { name: 'sum' type: 'Eltwise' bottom: 'y' bottom: 'x' top: 'z'
            eltwise_param { coeff: 2 coeff: -0.5 } }";

#[test]
fn a_residual_block_is_its_layers() {
    let net = Net::parse(RESIDUAL).unwrap();
    let [bn, scale] = [1, 2].map(|n| &net.layers[n].parameter);
    let dz = noise(24, 7);
    for numerics in both() {
        let mut runner = Runner::new(&net, Phase::Train, None, x(), numerics, true).unwrap();
        runner.forward().unwrap();
        runner.backward(&tops("z", dz.clone())).unwrap();

        let mut bn_layer = BatchNorm::new(bn, Phase::Train, &SHAPE, numerics).unwrap();
        let mut scale_layer = Scale::new(scale, &SHAPE, None, numerics).unwrap();
        let mut blobs = bn_layer.initial(bn).unwrap();
        let mut learned = scale_layer.initial().unwrap();
        let mut y = noise(24, 1);
        bn_layer.forward(&mut blobs, &SHAPE, InOut::InPlace(&mut y)).unwrap();
        scale_layer.forward(&learned, None, &SHAPE, InOut::InPlace(&mut y)).unwrap();
        let activated: Vec<_> = y.iter().map(|&y| if y > 0.0 { y } else { 0.25 * y }).collect();
        let z: Vec<_> =
            activated.iter().zip(noise(24, 1)).map(|(&y, x)| 2.0 * y - 0.5 * x).collect();
        close(runner.blobs()["y"].values(), &activated);
        close(runner.blobs()["z"].values(), &z);

        let mut dy: Vec<_> =
            dz.iter().zip(&y).map(|(&dz, &y)| if y > 0.0 { 2.0 * dz } else { 0.5 * dz }).collect();
        let io = InOut::InPlace(&mut dy[..]);
        scale_layer.backward(&mut learned, None, Wanted::default(), io).unwrap();
        // A name that layers work on in place shows the gradient of its first values.
        close(runner.diffs()["y"].values(), &dy);
        bn_layer.backward(InOut::InPlace(&mut dy)).unwrap();
        let dx: Vec<_> = dy.iter().zip(&dz).map(|(&dx, &dz)| dx - 0.5 * dz).collect();
        close(runner.diffs()["x"].values(), &dx);
        let [factor, bias] = [&learned.factor, &learned.bias].map(|p| &p.as_ref().unwrap().diff);
        let diffs = runner.param_diffs();
        close(diffs[0].2.values(), factor);
        close(diffs[1].2.values(), bias);

        // Gradients of learned blobs add up over iterations until they are cleared.
        runner.forward().unwrap();
        runner.backward(&tops("z", dz.clone())).unwrap();
        let twice: Vec<_> = bias.iter().map(|diff| 2.0 * diff).collect();
        close(runner.param_diffs()[1].2.values(), &twice);
        runner.clear_param_diffs();
        assert_eq!(runner.param_diffs()[1].2.values(), [0.0; 2]);
    }
}

#[test]
fn training_updates_the_statistics_in_the_weights_and_nothing_else() {
    let net = Net::parse(RESIDUAL).unwrap();
    let blob =
        |values: &[f32]| Blob::from_f32(Shape::new([values.len()]).unwrap(), values).unwrap();
    let mut weights = Caffemodel::default();
    let statistics = [blob(&[1.0, 2.0]), blob(&[3.0, 4.0]), blob(&[2.0])];
    weights.push(WeightLayer::new("bn", "BatchNorm", &statistics));
    weights.push(WeightLayer::new("other", "Convolution", &[blob(&[9.0])]));
    weights.push(WeightLayer::new("scale", "Scale", &[blob(&[1.0, 2.0]), blob(&[3.0, 4.0])]));
    for numerics in [Numerics::Exact, Numerics::Fast(&NaiveBackend)] {
        for keeps in [true, false] {
            let single: Vec<f32> = noise(24, 1).into_iter().map(|v| v as f32).collect();
            let x = || {
                BTreeMap::from([(
                    "x".to_owned(),
                    Tensor::new(SHAPE.to_vec(), single.clone()).unwrap(),
                )])
            };
            let mut test =
                Runner::new(&net, Phase::Test, Some(&weights), x(), numerics, keeps).unwrap();
            test.forward().unwrap();
            assert_eq!(test.weights().unwrap().to_bytes(), weights.to_bytes());

            let mut train =
                Runner::new(&net, Phase::Train, Some(&weights), x(), numerics, keeps).unwrap();
            train.forward().unwrap();
            let updated = train.weights().unwrap();
            let factor = updated.layer("bn").unwrap().blob(2).unwrap().to_f32();
            assert_eq!(factor, [2.0f32 * 0.999 + 1.0]);
            for name in ["other", "scale"] {
                let [old, new] = [&weights, &updated].map(|w| w.layer(name).unwrap().body());
                assert_eq!(old, new, "{name}");
            }
        }
    }
}

#[test]
fn layers_that_share_blobs_have_one_set() {
    let names = "param { name: 'm' } param { name: 'v' } param { name: 'f' }";
    let text = format!(
        "layer {{ name: 'a' type: 'BatchNorm' bottom: 'x' top: 'y' {names} }}
         layer {{ name: 'b' type: 'BatchNorm' bottom: 'y' top: 'z' {names} }}
         layer {{ name: 's' type: 'Scale' bottom: 'z' top: 'z' param {{ name: 'g' }} }}
         layer {{ name: 't' type: 'Scale' bottom: 'z' top: 'w' param {{ name: 'g' }} }}"
    );
    for numerics in both() {
        let net = Net::parse(text.clone()).unwrap();
        let mut runner = Runner::new(&net, Phase::Train, None, x(), numerics, true).unwrap();
        runner.forward().unwrap();
        let weights = runner.weights().unwrap();
        let [a, b] = ["a", "b"].map(|name| weights.layer(name).unwrap().blobs().unwrap());
        // One update for each of the two.
        let fraction = f64::from(0.999f32);
        assert_eq!(a[2].to_f64(), [fraction + 1.0]);
        assert_eq!(a, b);
        runner.backward(&tops("w", vec![1.0; 24])).unwrap();
        let diffs = runner.param_diffs();
        assert_eq!(diffs[0].2, diffs[1].2);
    }
    let partly = text.replace("'m' } param { name: 'v' } param { name: 'f' }", "'m' lr_mult: 0 }");
    let wrong =
        Runner::new(&Net::parse(partly).unwrap(), Phase::Train, None, x(), Numerics::Exact, true);
    assert!(wrong.unwrap_err().to_string().contains("param names"));
}

#[test]
fn second_bottoms_and_unwanted_gradients() {
    let net = Net::parse(
        "layer { name: 'scale' type: 'Scale' bottom: 'x' bottom: 'g' top: 'y' }
         layer { name: 'bias' type: 'Bias' bottom: 'y' bottom: 'g' top: 'z' propagate_down: true
                 propagate_down: false }
         layer { name: 'own' type: 'Scale' bottom: 'z' top: 'w' param { lr_mult: 0 } }",
    )
    .unwrap();
    for numerics in both() {
        let given = inputs(&[("x", &SHAPE, noise(24, 1)), ("g", &[2], vec![2.0, -1.0])]);
        let mut runner = Runner::new(&net, Phase::Train, None, given, numerics, true).unwrap();
        runner.forward().unwrap();
        let w: Vec<_> = noise(24, 1)
            .iter()
            .enumerate()
            .map(|(i, &x)| if i / 4 % 2 == 0 { x * 2.0 + 2.0 } else { -x - 1.0 })
            .collect();
        close(runner.blobs()["w"].values(), &w);
        runner.backward(&tops("w", vec![1.0; 24])).unwrap();
        let sum = |channel: usize| {
            let values = noise(24, 1).into_iter().enumerate();
            values.filter(|(i, _)| i / 4 % 2 == channel).map(|(_, x)| x).sum::<f64>()
        };
        close(runner.diffs()["g"].values(), &[sum(0), sum(1)]);
        assert_eq!(runner.param_diffs()[0].2.values(), [0.0; 2]);
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let refuse = |text: &str, given: BTreeMap<String, Tensor<f64>>, words: &[&str]| {
        let net = Net::parse(text).unwrap();
        let error =
            Runner::new(&net, Phase::Test, None, given, Numerics::Exact, false).unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{error} lacks {word}");
        }
    };
    let bn = "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'y' }";
    refuse(
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' }",
        x(),
        &["\"c\"", "not run"],
    );
    refuse(
        "layer { name: 'e' type: 'Eltwise' bottom: 'x' bottom: 'x' top: 'y' eltwise_param { operation: MAX } }",
        x(),
        &["\"e\"", "SUM"],
    );
    refuse("layer { name: 'd' type: 'Input' top: 'x' }", BTreeMap::new(), &["\"x\"", "values"]);
    refuse(bn, inputs(&[("q", &SHAPE, noise(24, 1))]), &["\"q\"", "x"]);
    refuse(bn, inputs(&[("x", &[24], noise(24, 1))]), &["\"bn\"", "[24]", "two axes"]);
    refuse(
        "layer { name: 'e' type: 'Eltwise' bottom: 'x' bottom: 'z' top: 'y' }",
        inputs(&[("x", &SHAPE, noise(24, 1)), ("z", &[24], noise(24, 1))]),
        &["\"e\"", "bottom 1"],
    );
    assert!(Tensor::new(vec![usize::MAX, 2], vec![0.0]).is_err());

    let net = Net::parse(bn).unwrap();
    let mut weights = Caffemodel::default();
    let two = Blob::from_f32(Shape::new([2]).unwrap(), &[1.0; 2]).unwrap();
    weights.push(WeightLayer::new("bn", "", &[two.clone(), two.clone(), two]));
    let wrong = Runner::new(&net, Phase::Test, Some(&weights), x(), Numerics::Exact, false);
    assert!(wrong.unwrap_err().to_string().contains("blob 2"));

    let mut runner = Runner::new(&net, Phase::Test, None, x(), Numerics::Exact, true).unwrap();
    assert!(runner.backward(&tops("y", vec![0.0; 24])).is_err(), "no forward before");
    runner.forward().unwrap();
    assert!(runner.backward(&tops("x", vec![0.0; 24])).is_err(), "not an output");
    assert!(runner.backward(&tops("y", vec![0.0; 23])).is_err(), "another size");
    let mut learned = Learned::<f64>::default();
    learned.clear_diffs();
}
