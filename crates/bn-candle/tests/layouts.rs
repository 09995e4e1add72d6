//! Layouts: ranks, views of every kind, and that what lies dense is not copied.

mod tensors;

use bn_candle::{BatchNorm, Layout};
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;
use tensors::{difference, uniform, variable, weighted_sum};

fn layer(channels: usize) -> Result<BatchNorm> {
    let f64 = DType::F64;
    let weight = variable(&[channels], 1.0, 1.0, 1, f64)?.as_tensor().clone();
    let bias = variable(&[channels], 0.0, 1.0, 2, f64)?.as_tensor().clone();
    let zeros = Tensor::zeros(channels, f64, &Device::Cpu)?;
    BatchNorm::new(channels, zeros.copy()?, zeros, weight, bias, 1e-3)
}

/// y, dx and dgamma of a function of x and the layer.
fn run(
    ours: &BatchNorm,
    x: &Var,
    view: impl Fn(&Tensor) -> Result<Tensor>,
    back: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<[Tensor; 3]> {
    let y = back(&ours.forward_train(&view(x)?)?)?;
    let gradients = weighted_sum(&y, 7)?.backward()?;
    let (weight, _) = ours.weight_and_bias().expect("the test layer has both");
    let [dx, dgamma] = [x.as_tensor(), weight].map(|of| gradients.get(of).unwrap().clone());
    Ok([y, dx, dgamma])
}

fn same(found: &[Tensor; 3], expected: &[Tensor; 3]) -> Result<()> {
    for (found, expected) in found.iter().zip(expected) {
        assert!(difference(found, expected)? < 1e-11);
    }
    Ok(())
}

#[test]
fn channels_last_is_channels_first_of_the_permuted() -> Result<()> {
    let ours = layer(3)?;
    let last = ours.clone().with_layout(Layout::ChannelsLast);
    let x = variable(&[4, 3, 5, 6], 0.5, 3.0, 3, DType::F64)?;
    let as_is = |x: &Tensor| Ok(x.clone());
    let expected = run(&ours, &x, as_is, as_is)?;
    // A dense channels-last tensor, by a copy of its own.
    let to_last = |x: &Tensor| x.permute((0, 2, 3, 1))?.contiguous();
    same(&run(&last, &x, to_last, |y| y.permute((0, 3, 1, 2)))?, &expected)?;
    // The channels-last view of the channels-first tensor, and back.
    let view = |x: &Tensor| x.permute((0, 2, 3, 1));
    same(&run(&last, &x, view, |y| y.permute((0, 3, 1, 2)))?, &expected)?;
    // A channels-last tensor seen channels-first.
    let seen_first = |x: &Tensor| x.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2));
    same(&run(&ours, &x, seen_first, as_is)?, &expected)
}

#[test]
fn views_lie_where_they_lay() -> Result<()> {
    let ours = layer(3)?;
    let x = uniform(&[4, 5, 6, 3], 0.5, 3.0, 3)?;
    let seen_first = x.permute((0, 3, 1, 2))?;
    let y = ours.forward_t(&seen_first, true)?;
    assert_eq!((y.dims(), y.stride()), (seen_first.dims(), seen_first.stride()));
    let transposed = x.permute((3, 0, 2, 1))?;
    let y = layer(4)?.forward_t(&transposed, true)?;
    assert_eq!((y.dims(), y.stride()), (transposed.dims(), transposed.stride()));
    Ok(())
}

#[test]
fn views_with_gaps_and_repetitions_are_copied_once() -> Result<()> {
    let ours = layer(3)?;
    let x = variable(&[4, 3, 5, 6], 0.5, 3.0, 3, DType::F64)?;
    let as_is = |x: &Tensor| Ok(x.clone());
    let narrow = |x: &Tensor| x.narrow(3, 1, 4);
    let dense = |x: &Tensor| x.narrow(3, 1, 4)?.force_contiguous();
    same(&run(&ours, &x, narrow, as_is)?, &run(&ours, &x, dense, as_is)?)?;
    let repeated = |x: &Tensor| x.narrow(0, 0, 1)?.broadcast_as((4, 3, 5, 6));
    let dense = |x: &Tensor| x.narrow(0, 0, 1)?.broadcast_as((4, 3, 5, 6))?.force_contiguous();
    same(&run(&ours, &x, repeated, as_is)?, &run(&ours, &x, dense, as_is)?)?;
    // A run of samples begins inside its storage and needs no copy.
    let later = |x: &Tensor| x.narrow(0, 1, 2);
    let dense = |x: &Tensor| x.narrow(0, 1, 2)?.force_contiguous();
    same(&run(&ours, &x, later, as_is)?, &run(&ours, &x, dense, as_is)?)
}

#[test]
fn a_residual_may_lie_otherwise_than_x() -> Result<()> {
    let ours = layer(3)?.with_add_relu();
    let x = uniform(&[4, 3, 5, 6], 0.5, 3.0, 3)?;
    let residual = variable(&[4, 5, 6, 3], 0.5, 3.0, 4, DType::F64)?;
    let view = residual.permute((0, 3, 1, 2))?;
    let y = ours.forward_t(&x, &view, true)?;
    let expected = ours.forward_t(&x, &view.contiguous()?, true)?;
    assert_eq!(difference(&y, &expected)?, 0.0);
    let (found, expected) = (weighted_sum(&y, 7)?.backward()?, weighted_sum(&expected, 7)?);
    let expected = expected.backward()?;
    let dresidual = (found.get(&residual).unwrap(), expected.get(&residual).unwrap());
    assert_eq!(difference(dresidual.0, dresidual.1)?, 0.0);
    Ok(())
}

#[test]
fn every_rank_from_two() -> Result<()> {
    let ours = layer(3)?;
    for dims in [&[8, 3][..], &[4, 3, 2], &[4, 3, 2, 1], &[2, 3, 2, 1, 2], &[1, 3, 2, 2, 2, 1]] {
        let x = uniform(dims, 0.5, 3.0, 3)?;
        let flat = x.reshape((dims[0], 3, ()))?;
        let (y, expected) = (ours.forward_train(&x)?, ours.forward_train(&flat)?);
        assert_eq!(y.dims(), dims);
        assert_eq!(difference(&y.reshape((dims[0], 3, ()))?, &expected)?, 0.0);
    }
    Ok(())
}
