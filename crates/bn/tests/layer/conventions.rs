//! Momentum and variance in the conventions of several systems.

use bn::{BatchNorm, Builder, Layout, Mode, Momentum, RunningVariance, SingleValue};
use ndarray::{Array2, array};

use crate::data::{naive, noise};

const MEAN: f64 = 3.0;
const BIASED: f64 = 5.0;
const UNBIASED: f64 = 20.0 / 3.0;

fn after_one_batch(builder: Builder<f64>) -> (f64, f64) {
    let mut layer = naive(builder);
    layer.forward(&array![[0.0], [2.0], [4.0], [6.0]], Mode::TRAIN).unwrap();
    let running = layer.running().unwrap();
    (running.mean()[0], running.var()[0])
}

fn builder() -> Builder<f64> {
    BatchNorm::builder(1, Layout::ChannelsFirst)
}

#[test]
fn pytorch_weighs_the_new_value_and_keras_the_old() {
    let pytorch = after_one_batch(builder());
    assert!((pytorch.0 - 0.1 * MEAN).abs() < 1e-15);
    assert!((pytorch.1 - (0.9 + 0.1 * UNBIASED)).abs() < 1e-15);

    let keras = builder().momentum(Momentum::Old(0.99)).running_variance(RunningVariance::Biased);
    let keras = after_one_batch(keras);
    assert!((keras.0 - 0.01 * MEAN).abs() < 1e-15);
    assert!((keras.1 - (0.99 + 0.01 * BIASED)).abs() < 1e-15);

    let mirrored = after_one_batch(builder().momentum(Momentum::Old(0.9)));
    assert!((mirrored.0 - pytorch.0).abs() < 1e-15 && (mirrored.1 - pytorch.1).abs() < 1e-15);
}

#[test]
fn the_cumulative_average_forgets_where_it_started() {
    let cumulative = after_one_batch(builder().momentum(Momentum::Cumulative));
    assert_eq!(cumulative, (MEAN, UNBIASED));
}

#[test]
fn caffe_keeps_sums_that_evaluation_divides() {
    let caffe = builder()
        .without_affine()
        .momentum(Momentum::CaffeSum(0.9))
        .single_value(SingleValue::Allow);
    let mut layer = naive(caffe);
    let x = array![[0.0], [2.0], [4.0], [6.0]];
    layer.forward(&x, Mode::TRAIN).unwrap();
    layer.forward(&x, Mode::TRAIN).unwrap();
    let running = layer.running().unwrap();
    assert!((running.mean()[0] - 1.9 * MEAN).abs() < 1e-15);
    assert_eq!(running.seen().factor, 1.9);
    let y = layer.infer(&x).unwrap();
    assert!((y[[3, 0]] - 3.0 / (UNBIASED + 1e-5f64).sqrt()).abs() < 1e-12);
}

#[test]
fn changing_the_convention_keeps_what_evaluation_gives() {
    let x: Array2<f64> = noise([9, 1], 8);
    let mut layer = naive(builder().momentum(Momentum::CaffeSum(0.999)));
    for _ in 0..3 {
        layer.forward(&x, Mode::TRAIN).unwrap();
    }
    let before = layer.infer(&x).unwrap();
    for momentum in [Momentum::New(0.1), Momentum::Cumulative, Momentum::CaffeSum(0.9)] {
        layer.set_momentum(momentum).unwrap();
        let after = layer.infer(&x).unwrap();
        assert!((&after - &before).iter().all(|d| d.abs() < 1e-13), "{momentum}");
        assert_eq!(layer.running().unwrap().seen().batches, 3);
    }
    assert_eq!(layer.running().unwrap().seen().factor, 1.0);
    assert!(layer.set_momentum(Momentum::New(2.0)).is_err());
    assert_eq!(layer.momentum(), Momentum::CaffeSum(0.9));
}
