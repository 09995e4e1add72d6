//! Everything that is refused, by name, and that nothing has changed afterwards.

use std::sync::Arc;

use bn::core::{
    Backend, BackwardApply, BackwardReduce, BatchNormBackend, Checked, Device, ForwardTraining,
    HostMemory, Moments, Normalize,
};
use bn::naive::NaiveBackend;
use bn::{
    Activation, BatchNorm, Element, Error, Input, Layout, Mode, Momentum, RunningStatistics, Seen,
};
use bn::{StreamedMoments, core};
use ndarray::{Array2, Array3, arr0, array};

use crate::data::{naive, noise};

fn builder() -> bn::Builder<f32> {
    BatchNorm::builder(3, Layout::ChannelsFirst)
}

#[test]
fn builders_name_what_cannot_be() {
    let build = |builder: bn::Builder<f32>| builder.build_with(Arc::new(NaiveBackend)).unwrap_err();
    let none = BatchNorm::<f32>::builder(0, Layout::ChannelsLast);
    assert!(matches!(build(none), Error::NoChannels));
    assert!(matches!(build(builder().groups(0)), Error::NoGroups));
    for eps in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
        assert!(matches!(build(builder().eps(eps)), Error::Core(core::Error::Eps { .. })));
    }
    let momentum = build(builder().momentum(Momentum::New(1.5)));
    assert_eq!(
        momentum.to_string(),
        "momentum (weight of the new value) is 1.5; expected a number from 0 to 1"
    );
    let endless = BatchNorm::<f32>::builder(usize::MAX, Layout::ChannelsLast);
    assert!(matches!(build(endless), Error::Core(core::Error::OutOfMemory { .. })));
}

#[test]
fn operands_that_do_not_fit_are_named_and_change_nothing() {
    let mut layer = naive(builder());
    let x: Array3<f32> = noise([4, 3, 5], 1);
    layer.forward(&x, Mode::TRAIN).unwrap();
    let before = layer.running().cloned();
    let message =
        |outcome: Result<_, Error>| -> String { outcome.map(|_: ()| ()).unwrap_err().to_string() };

    let wrong: Array3<f32> = noise([4, 5, 3], 1);
    let outcome = layer.forward(&wrong, Mode::TRAIN).map(|_| ());
    assert_eq!(
        message(outcome),
        "shape [4, 5, 3] has 5 channels (channels-first); expected 3, the layer's"
    );
    let outcome = layer.forward(Input::new(&x).residual(&x), Mode::TRAIN).map(|_| ());
    assert!(matches!(outcome, Err(Error::UnexpectedResidual)));
    let mask = Array2::from_elem((5, 4), true);
    let outcome = layer.forward(Input::new(&x).mask(&mask), Mode::TRAIN).map(|_| ());
    assert_eq!(message(outcome), "mask has shape [5, 4]; expected [4, 5]");
    let endless = arr0(true);
    let endless = endless.broadcast((1 << 40, 1)).unwrap();
    let outcome = layer.forward(Input::new(&x).mask(&endless), Mode::TRAIN).map(|_| ());
    assert_eq!(message(outcome), "mask has shape [1099511627776, 1]; expected [4, 5]");
    let nothing = Array2::from_elem((4, 5), false);
    for mode in [Mode::TRAIN, Mode::RECALIBRATE] {
        let outcome = layer.forward(Input::new(&x).mask(&nothing), mode);
        assert!(matches!(outcome, Err(Error::Core(core::Error::NoValidPositions { group: 0 }))));
    }
    let empty = Array3::<f32>::zeros((0, 3, 5));
    assert!(layer.forward(&empty, Mode::TRAIN).is_err() && layer.infer(&empty).is_err());
    let one: Array3<f32> = noise([1, 3, 1], 1);
    let outcome = layer.forward(&one, Mode::TRAIN);
    assert!(matches!(outcome, Err(Error::Core(core::Error::OneValuePerChannel { group: 0 }))));
    assert_eq!(layer.running().cloned(), before);

    let (_, cache) = layer.forward(&x, Mode::BATCH_ONLY).unwrap();
    let outcome = layer.backward(&wrong, &cache).map(|_| ());
    assert_eq!(message(outcome), "dy has shape [4, 5, 3]; expected [4, 3, 5]");
    assert_eq!(layer.running().cloned(), before);
}

#[test]
fn residual_layers_ask_for_their_residual() {
    let mut layer = naive(builder().activation(Activation::AddRelu));
    let x: Array3<f32> = noise([4, 3, 5], 1);
    let short: Array3<f32> = noise([4, 3, 4], 1);
    assert!(matches!(layer.forward(&x, Mode::TRAIN), Err(Error::MissingResidual)));
    assert!(matches!(layer.infer(&x), Err(Error::MissingResidual)));
    let outcome = layer.forward(Input::new(&x).residual(&short), Mode::TRAIN);
    assert!(matches!(outcome, Err(Error::Shape { operand: "residual", .. })));
    let mut buffer = x.clone();
    let outcome = layer.infer_in_place(buffer.view_mut(), Some(short.view()));
    assert!(matches!(outcome, Err(Error::Shape { operand: "residual", .. })));
    assert_eq!(buffer, x);
}

#[test]
fn in_place_backward_asks_for_an_x_hat_of_the_right_shape() {
    let mut layer = naive(builder().without_affine());
    let mut x: Array3<f32> = noise([4, 3, 5], 1);
    let other: Array3<f32> = noise([4, 3, 4], 1);
    let cache = layer.forward_in_place(x.view_mut(), Mode::TRAIN).unwrap();
    let outcome = layer.backward_in_place(&x, &other, &cache);
    assert!(matches!(outcome, Err(Error::Shape { operand: "x̂", .. })));
    let outcome = layer.backward_in_place(&other, &x, &cache);
    assert!(matches!(outcome, Err(Error::Shape { operand: "dy", .. })));
}

#[test]
fn statistics_that_no_data_has_are_refused() {
    let new = |mean, var| RunningStatistics::<f32>::new(mean, var, Seen::default());
    assert_eq!(
        new(array![0.0, 1.0], array![1.0, -0.5]).unwrap_err().to_string(),
        "running_var of channel 1 is -0.5; expected a finite number of at least 0"
    );
    assert!(new(array![0.0], array![f32::NAN]).is_err());
    assert!(new(array![0.0], array![f32::INFINITY]).is_err());
    assert!(new(array![f32::NAN], array![1.0]).is_err());
    assert!(new(array![0.0, 0.0], array![1.0]).is_err());

    let mut layer = naive(builder());
    let before = layer.running().cloned();
    let two = new(array![0.0, 0.0], array![1.0, 1.0]).unwrap();
    assert!(matches!(layer.set_running(two), Err(Error::Shape { .. })));
    let none = StreamedMoments::from_channels(vec![Default::default(); 3]);
    assert!(matches!(layer.absorb(&none), Err(Error::TooFewValues { found: 0, .. })));
    assert!(matches!(layer.adopt(&none), Err(Error::TooFewValues { found: 0, .. })));
    let few = StreamedMoments::from_channels(vec![Default::default(); 2]);
    assert!(matches!(layer.absorb(&few), Err(Error::Shape { .. })));
    assert_eq!(layer.running().cloned(), before);
}

/// A backend that has written everything when it fails.
struct FailsAtTheEnd;

const BROKEN: core::Error = core::Error::NoValidPositions { group: 77 };

impl Backend for FailsAtTheEnd {
    type Memory = HostMemory;
    fn name(&self) -> &'static str {
        "fails-at-the-end"
    }
    fn device(&self) -> Device {
        NaiveBackend.device()
    }
    fn memory(&self) -> &HostMemory {
        &HostMemory
    }
}

impl<T: Element> BatchNormBackend<T> for FailsAtTheEnd {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), core::Error> {
        NaiveBackend.moments(request)
    }
    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), core::Error> {
        NaiveBackend.normalize(request)?;
        Err(BROKEN)
    }
    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), core::Error> {
        NaiveBackend.backward_reduce(request)
    }
    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), core::Error> {
        NaiveBackend.backward_apply(request)
    }
    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, HostMemory>>,
    ) -> Result<(), core::Error> {
        NaiveBackend.forward_training(request)?;
        Err(BROKEN)
    }
}

#[test]
fn a_device_that_fails_midway_leaves_the_running_statistics_alone() {
    let mut layer = builder().build_with(Arc::new(FailsAtTheEnd)).unwrap();
    let before = layer.running().cloned();
    let x: Array3<f32> = noise([4, 3, 5], 1);
    for mode in [Mode::TRAIN, Mode::RECALIBRATE] {
        assert!(matches!(layer.forward(&x, mode), Err(Error::Core(BROKEN))), "{mode}");
        assert_eq!(layer.running().cloned(), before, "{mode}");
    }
}
