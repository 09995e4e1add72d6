//! Each forward and backward of the layer is one request of the contract, to the bit.

use bn::core::{
    Backward, BatchNormBackend, Epilogue, FixedStatistics, ForwardInference, ForwardTraining, Gate,
    InOut, Request, RunningMut, SavedStatistics, SavedTensor, ValidPositions,
};
use bn::naive::NaiveBackend;
use bn::{
    Activation, BatchNorm, Element, Input, Layout, Mode, Momentum, Problem, RunningVariance, Seen,
    bf16, f16,
};
use ndarray::{Array4, ArrayD, Axis};

use crate::data::{disturb, naive, noise};

const DIMS: [usize; 4] = [4, 3, 2, 5];

fn training_is_the_request<T: Element>(
    layout: Layout,
    activation: Activation,
    groups: usize,
    masked: bool,
) {
    let builder =
        BatchNorm::<T>::builder(if layout == Layout::ChannelsFirst { 3 } else { 5 }, layout);
    let mut layer = naive(builder.activation(activation).groups(groups).eps(1e-3));
    disturb(&mut layer);
    let (gamma, beta) = (layer.gamma().unwrap().to_owned(), layer.beta().unwrap().to_owned());
    let channels = layer.channels();

    let x: Array4<T> = noise(DIMS, 1);
    let residual: Array4<T> = noise(DIMS, 2);
    let dy: Array4<T> = noise(DIMS, 3);
    let axis = Axis(if layout == Layout::ChannelsFirst { 1 } else { 3 });
    let mask = noise::<f64, _, _>(DIMS, 4).index_axis_move(axis, 0).mapv(|value| value > 0.0);

    let mut input = Input::new(&x);
    if activation == Activation::AddRelu {
        input = input.residual(&residual);
    }
    if masked {
        input = input.mask(&mask);
    }
    let (y, cache) = layer.forward(input, Mode::TRAIN).unwrap();
    let gradients = layer.backward(&dy, &cache).unwrap();

    let problem = Problem::new(&DIMS, layout).unwrap().with_groups(groups).unwrap();
    let bytes: Vec<u8> = mask.iter().map(|&valid| u8::from(valid)).collect();
    let valid = masked.then(|| ValidPositions::on_host(&problem, &bytes).unwrap());
    let zeros = || vec![T::default(); problem.elements()];
    let (mut mean, mut inv_std) =
        (vec![0.0; problem.statistics()], vec![0.0; problem.statistics()]);
    let param = |value| vec![T::Param::from_f64(value); channels];
    let (mut running_mean, mut running_var) = (param(0.0), param(1.0));
    let (mut seen, mut bits, mut expected_y) =
        (Seen::default(), vec![0; problem.bits_len()], zeros());
    let request = ForwardTraining {
        valid: valid.as_ref(),
        gamma: gamma.as_slice(),
        beta: beta.as_slice(),
        eps: 1e-3,
        epilogue: match activation {
            Activation::None => Epilogue::None,
            Activation::Relu => Epilogue::Relu { bits: Some(&mut bits[..]) },
            Activation::AddRelu => Epilogue::AddRelu {
                residual: residual.as_slice().unwrap(),
                bits: Some(&mut bits[..]),
            },
        },
        running: Some(RunningMut {
            mean: &mut running_mean[..],
            var: &mut running_var[..],
            seen: &mut seen,
            momentum: Momentum::New(0.1),
            variance: RunningVariance::Unbiased,
        }),
        ..ForwardTraining::new(
            problem,
            InOut::new(x.as_slice().unwrap(), &mut expected_y[..]),
            SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] },
        )
    };
    NaiveBackend.forward_training(request.check().unwrap()).unwrap();
    assert_eq!(y.as_slice().unwrap(), expected_y);
    assert_eq!((cache.mean(), cache.inv_std()), (&mean[..], &inv_std[..]));
    let running = layer.running().unwrap();
    assert_eq!(running.mean().as_slice().unwrap(), running_mean);
    assert_eq!(running.var().as_slice().unwrap(), running_var);
    assert_eq!(running.seen(), seen);

    let (mut dx, mut dresidual) = (zeros(), zeros());
    let (mut dgamma, mut dbeta) = (param(0.0), param(0.0));
    let request = Backward {
        valid: valid.as_ref(),
        gamma: gamma.as_slice(),
        gate: if activation == Activation::None { Gate::Open } else { Gate::Bits(&bits[..]) },
        dgamma: Some(&mut dgamma[..]),
        dbeta: Some(&mut dbeta[..]),
        dresidual: (activation == Activation::AddRelu).then_some(&mut dresidual[..]),
        ..Backward::new(
            problem,
            InOut::new(dy.as_slice().unwrap(), &mut dx[..]),
            SavedTensor::Input(x.as_slice().unwrap()),
            &mean[..],
            &inv_std[..],
        )
    };
    NaiveBackend.backward(request.check().unwrap()).unwrap();
    assert_eq!(gradients.dx.as_slice().unwrap(), dx);
    assert_eq!(gradients.dgamma.unwrap().as_slice().unwrap(), dgamma);
    assert_eq!(gradients.dbeta.unwrap().as_slice().unwrap(), dbeta);
    assert_eq!(gradients.dresidual.is_some(), activation == Activation::AddRelu);
    if let Some(found) = gradients.dresidual {
        assert_eq!(found.as_slice().unwrap(), dresidual);
    }
}

fn every_training<T: Element>() {
    for layout in Layout::ALL {
        for activation in [Activation::None, Activation::Relu, Activation::AddRelu] {
            for (groups, masked) in [(1, false), (2, false), (1, true), (2, true)] {
                training_is_the_request::<T>(layout, activation, groups, masked);
            }
        }
    }
}

#[test]
fn training_f32_is_the_request() {
    every_training::<f32>();
}

#[test]
fn training_f64_is_the_request() {
    every_training::<f64>();
}

#[test]
fn training_f16_is_the_request() {
    every_training::<f16>();
}

#[test]
fn training_bf16_is_the_request() {
    every_training::<bf16>();
}

#[test]
fn inference_is_the_request() {
    let mut layer = naive(BatchNorm::<f32>::builder(3, Layout::ChannelsFirst));
    disturb(&mut layer);
    let x: ArrayD<f32> = noise(DIMS.to_vec(), 7);
    layer.forward(&x, Mode::TRAIN).unwrap();
    let running = layer.running().unwrap();
    let (mean, var) = (running.mean().to_vec(), running.var().to_vec());
    let (gamma, beta) = (layer.gamma().unwrap().to_vec(), layer.beta().unwrap().to_vec());

    let problem = Problem::new(&DIMS, Layout::ChannelsFirst).unwrap();
    let mut expected = vec![0.0; problem.elements()];
    let request = ForwardInference {
        gamma: Some(&gamma[..]),
        beta: Some(&beta[..]),
        ..ForwardInference::new(
            problem,
            InOut::new(x.as_slice().unwrap(), &mut expected[..]),
            FixedStatistics::Running { mean: &mean[..], var: &var[..], scale: 1.0, eps: 1e-5 },
        )
    };
    NaiveBackend.forward_inference(request.check().unwrap()).unwrap();
    assert_eq!(layer.infer(&x).unwrap().as_slice().unwrap(), expected);
    let (frozen, _) = layer.forward(&x, Mode::EVAL).unwrap();
    assert_eq!(frozen.as_slice().unwrap(), expected);
}

#[test]
fn frozen_gradients_are_those_of_finite_differences() {
    let mut layer = naive(BatchNorm::<f64>::builder(3, Layout::ChannelsFirst));
    disturb(&mut layer);
    let x: Array4<f64> = noise(DIMS, 11);
    layer.forward(&x, Mode::TRAIN).unwrap();
    let weights: Array4<f64> = noise(DIMS, 12);
    let (_, cache) = layer.forward(&x, Mode::EVAL).unwrap();
    let gradients = layer.backward(&weights, &cache).unwrap();

    let loss = |x: &Array4<f64>| (layer.infer(x).unwrap() * &weights).sum();
    for index in [[0, 0, 0, 0], [1, 2, 1, 3], [3, 1, 0, 4]] {
        let (mut above, mut below) = (x.clone(), x.clone());
        above[index] += 1e-4;
        below[index] -= 1e-4;
        let expected = (loss(&above) - loss(&below)) / 2e-4;
        assert!((gradients.dx[index] - expected).abs() < 1e-8, "{index:?}");
    }
}
