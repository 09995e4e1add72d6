//! Rules of the layers that no recorded run shows.

use bn_caffe::inspect::Warning;
use bn_caffe::layer::{
    BatchNorm, Gradients, Learned, Numerics, Pair, Scale, Second, Statistics, Wanted,
};
use bn_caffe::proto::schema::{LayerParameter, Phase};
use bn_caffe::text::{Document, read};
use bn_core::InOut;
use bn_naive::NaiveBackend;

const SHAPE: [usize; 3] = [3, 2, 4];

fn parameter(text: &str) -> LayerParameter {
    let document = Document::parse(format!("name: 'layer' top: 'y' bottom: 'x' {text}")).unwrap();
    read::layer(document.root()).unwrap().0
}

fn both() -> [Numerics<'static, f64>; 2] {
    [Numerics::Exact, Numerics::Fast(&NaiveBackend)]
}

fn values(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f64 / 7.0 - 1.0).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} and {b}");
    }
}

/// y, dx and the blobs of a BatchNorm after some iterations.
fn iterate(text: &str, numerics: Numerics<'_, f64>) -> (Vec<f64>, Vec<f64>, Statistics<f64>) {
    let p = parameter(&format!("type: 'BatchNorm' {text}"));
    let mut layer = BatchNorm::new(&p, Phase::Train, &SHAPE, numerics).unwrap();
    let mut blobs = layer.initial(&p).unwrap();
    let (mut y, mut dx) = (Vec::new(), Vec::new());
    for step in 0..3 {
        y = values(24, step);
        layer.forward(&mut blobs, &SHAPE, InOut::InPlace(&mut y)).unwrap();
        dx = values(24, step + 5);
        layer.backward(InOut::InPlace(&mut dx)).unwrap();
    }
    (y, dx, blobs)
}

#[test]
fn both_numerics_agree_over_iterations_and_for_every_eps_that_caffe_takes() {
    for text in [
        "",
        "batch_norm_param { moving_average_fraction: 7 }",
        "batch_norm_param { eps: 0 }",
        "batch_norm_param { eps: -0.01 moving_average_fraction: 0.5 }",
    ] {
        let [exact, fast] = both().map(|numerics| iterate(text, numerics));
        close(&exact.0, &fast.0);
        close(&exact.1, &fast.1);
        close(&exact.2.mean, &fast.2.mean);
        close(&exact.2.variance, &fast.2.variance);
        assert_eq!(exact.2.factor, fast.2.factor);
    }
}

#[test]
fn layers_that_share_blobs_update_them_once_each() {
    let p = parameter("type: 'BatchNorm' batch_norm_param { moving_average_fraction: 0.5 }");
    for numerics in both() {
        let mut layers =
            [0, 1].map(|_| BatchNorm::new(&p, Phase::Train, &SHAPE, numerics).unwrap());
        let mut blobs = layers[0].initial(&p).unwrap();
        for layer in &mut layers {
            layer.forward(&mut blobs, &SHAPE, InOut::InPlace(&mut values(24, 1))).unwrap();
        }
        assert_eq!(blobs.factor, [1.5]);
    }
}

/// The factor's gradient after two backward passes of a batch of one.
fn accumulated(numerics: Numerics<'_, f64>, gradients: Gradients) -> [Vec<f64>; 2] {
    let shape = [1, 3, 4];
    let p = parameter("type: 'Scale' scale_param { bias_term: true }");
    let mut layer = Scale::new(&p, &shape, None, numerics).unwrap().with_gradients(gradients);
    let mut learned = layer.initial().unwrap();
    for _ in 0..2 {
        let (x, mut y, mut dx) = (values(12, 1), vec![0.0; 12], vec![0.0; 12]);
        layer.forward(&learned, None, &shape, InOut::new(&x[..], &mut y[..])).unwrap();
        let dy = [1.0; 12];
        let io = InOut::new(&dy[..], &mut dx[..]);
        layer.backward(&mut learned, None, Wanted::default(), io).unwrap();
    }
    [learned.factor.unwrap().diff, learned.bias.unwrap().diff]
}

#[test]
fn the_factors_gradient_accumulates_unless_caffes_bug_is_asked_for() {
    let once: Vec<f64> = values(12, 1).chunks(4).map(|row| row.iter().sum()).collect();
    let twice: Vec<f64> = once.iter().map(|sum| 2.0 * sum).collect();
    for numerics in both() {
        let [factor, bias] = accumulated(numerics, Gradients::Right);
        close(&factor, &twice);
        close(&bias, &[8.0; 3]);
        let [factor, bias] = accumulated(numerics, Gradients::Caffe);
        close(&factor, &once);
        close(&bias, &[8.0; 3]);
    }
}

#[test]
fn a_pair_is_its_two_layers() {
    let bn = parameter("type: 'BatchNorm'");
    let scale = parameter("type: 'Scale' scale_param { bias_term: true filler { value: 3 } }");
    let mut results = Vec::new();
    for numerics in both() {
        for together in [true, false] {
            let mut bn_layer = BatchNorm::new(&bn, Phase::Train, &SHAPE, numerics).unwrap();
            let mut scale_layer = Scale::new(&scale, &SHAPE, None, numerics).unwrap();
            let mut blobs = bn_layer.initial(&bn).unwrap();
            let mut learned = scale_layer.initial().unwrap();
            let (mut y, mut dx) = (values(24, 3), values(24, 4));
            if together {
                let mut pair = Pair::new(bn_layer, scale_layer).unwrap();
                pair.forward(&mut blobs, &learned, &SHAPE, InOut::InPlace(&mut y)).unwrap();
                pair.backward(&mut learned, InOut::InPlace(&mut dx)).unwrap();
            } else {
                bn_layer.forward(&mut blobs, &SHAPE, InOut::InPlace(&mut y)).unwrap();
                scale_layer.forward(&learned, None, &SHAPE, InOut::InPlace(&mut y)).unwrap();
                let io = InOut::InPlace(&mut dx[..]);
                scale_layer.backward(&mut learned, None, Wanted::default(), io).unwrap();
                bn_layer.backward(InOut::InPlace(&mut dx)).unwrap();
            }
            let [factor, bias] = [learned.factor.unwrap().diff, learned.bias.unwrap().diff];
            results.push([y, dx, factor, bias, blobs.mean, blobs.variance].concat());
        }
    }
    for other in &results[1..] {
        close(&results[0], other);
    }
}

#[test]
fn bias_adds_and_its_second_bottom_gets_an_assigned_gradient() {
    for numerics in both() {
        let p = parameter("type: 'Bias' bias_param { filler { value: 0.5 } }");
        let mut layer = Scale::new(&p, &SHAPE, None, numerics).unwrap();
        let mut learned = layer.initial().unwrap();
        let mut y = vec![1.0; 24];
        layer.forward(&learned, None, &SHAPE, InOut::InPlace(&mut y)).unwrap();
        assert_eq!(y, [1.5; 24]);
        for times in 1..3 {
            let mut dy = vec![1.0; 24];
            let io = InOut::InPlace(&mut dy[..]);
            layer.backward(&mut learned, None, Wanted::default(), io).unwrap();
            assert_eq!(learned.bias.as_ref().unwrap().diff, [12.0 * f64::from(times); 2]);
            assert_eq!(dy, [1.0; 24]);
        }

        let p = parameter("type: 'Bias' bottom: 'b'");
        let mut layer = Scale::new(&p, &SHAPE, Some(&[2]), numerics).unwrap();
        let mut learned = Learned::default();
        let (value, mut diff) = ([1.0, 2.0], [9.0, 9.0]);
        layer.forward(&learned, Some(&value), &SHAPE, InOut::InPlace(&mut y)).unwrap();
        assert_eq!((y[0], y[4]), (2.5, 3.5));
        let second = Second { value: &value, diff: &mut diff };
        let io = InOut::InPlace(&mut y[..]);
        layer.backward(&mut learned, Some(second), Wanted::default(), io).unwrap();
        let expected = [2.5 * 12.0, 3.5 * 12.0];
        close(&diff, &expected);
    }
}

#[test]
fn what_caffe_takes_although_nobody_means_it_is_warned_of() {
    let p = parameter(
        "type: 'BatchNorm' batch_norm_param { eps: -1 moving_average_fraction: 7 use_global_stats: false }",
    );
    let layer = BatchNorm::<f32>::new(&p, Phase::Test, &SHAPE, Numerics::Exact).unwrap();
    let blobs = Statistics { mean: vec![1.0, 0.0], variance: vec![0.0; 2], factor: vec![0.0] };
    assert_eq!(
        layer.warnings(&blobs),
        [
            Warning::NegativeEps { eps: -1.0 },
            Warning::FractionOutOfRange { fraction: 7.0 },
            Warning::BatchStatisticsInTest,
            Warning::ZeroFactor { non_zero: 1 },
        ]
    );
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let p = parameter("type: 'BatchNorm'");
    for numerics in both() {
        let mut layer = BatchNorm::new(&p, Phase::Train, &SHAPE, numerics).unwrap();
        let untouched = layer.initial(&p).unwrap();
        let mut blobs = untouched.clone();
        let refuse = |result: bn_caffe::Result<()>, word: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(word) && message.contains("\"layer\""), "{message}");
        };
        refuse(layer.backward(InOut::InPlace(&mut [0.0; 24])), "no forward");
        let mut y = [7.0; 24];
        let short = [0.0; 23];
        let io = InOut::new(&short[..], &mut y[..]);
        refuse(layer.forward(&mut blobs, &SHAPE, io), "values of x");
        let four_channels = [3, 4, 2];
        let result = layer.forward(&mut blobs, &four_channels, InOut::InPlace(&mut y));
        refuse(result, "as at set-up");
        let result = layer.forward(&mut blobs, &[0, 2, 4], InOut::InPlace(&mut []));
        refuse(result, "no empty axis");
        assert_eq!((y, &blobs), ([7.0; 24], &untouched));
        blobs.factor.clear();
        let result = layer.forward(&mut blobs, &SHAPE, InOut::InPlace(&mut y));
        refuse(result, "values of blob 2");

        let p = parameter("type: 'Scale' scale_param { filler { type: 'bilinear' } }");
        let layer = Scale::new(&p, &SHAPE, None, numerics).unwrap();
        refuse(layer.initial().map(drop), "filler.type");
    }
}
