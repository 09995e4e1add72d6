//! In place and out of place give the same bits, and the types keep them apart.

use bn::{Activation, BatchNorm, Error, Input, Layout, Mode};
use ndarray::Array4;

use crate::data::{disturb, naive, noise};

#[test]
fn training_in_place_is_training() {
    for layout in Layout::ALL {
        for groups in [1, 2] {
            let channels = if layout == Layout::ChannelsFirst { 3 } else { 5 };
            let builder = BatchNorm::<f32>::builder(channels, layout).without_affine();
            let mut layer = naive(builder.groups(groups));
            let mut other = layer.clone();
            let x: Array4<f32> = noise([4, 3, 2, 5], 1);
            let dy: Array4<f32> = noise([4, 3, 2, 5], 2);
            for mode in [Mode::TRAIN, Mode::BATCH_ONLY, Mode::EVAL, Mode::RECALIBRATE] {
                let (y, cache) = layer.forward(&x, mode).unwrap();
                let mut buffer = x.clone();
                let in_place = other.forward_in_place(buffer.view_mut(), mode).unwrap();
                assert_eq!(buffer, y, "{mode}");
                assert_eq!((in_place.mean(), in_place.inv_std()), (cache.mean(), cache.inv_std()));
                assert_eq!(layer.running(), other.running(), "{mode}");

                // From x̂ instead of x the same gradient to rounding of x̂, and not to the bit.
                let dx = layer.backward(&dy, &cache).unwrap().dx;
                let from_y = other.backward_in_place(&dy, &buffer, &in_place).unwrap();
                assert!((&from_y.dx - &dx).iter().all(|d| d.abs() < 1e-5), "{mode}");
                assert!(from_y.dgamma.is_none() && from_y.dbeta.is_none());
            }
        }
    }
}

#[test]
fn a_layer_whose_y_is_not_x_hat_does_not_train_in_place() {
    let x: Array4<f32> = noise([4, 3, 2, 5], 1);
    let builder = || BatchNorm::<f32>::builder(3, Layout::ChannelsFirst);
    for builder in [
        builder(),
        builder().without_gamma(),
        builder().without_beta(),
        builder().without_affine().activation(Activation::Relu),
    ] {
        let (mut layer, mut buffer) = (naive(builder), x.clone());
        let before = layer.running().cloned();
        let outcome = layer.forward_in_place(buffer.view_mut(), Mode::TRAIN);
        assert!(matches!(outcome, Err(Error::InPlace)));
        assert_eq!((buffer, layer.running().cloned()), (x.clone(), before));
    }
}

#[test]
fn owned_arrays_are_overwritten_and_give_the_same_bits() {
    for activation in [Activation::None, Activation::Relu, Activation::AddRelu] {
        let builder = BatchNorm::<f32>::builder(3, Layout::ChannelsFirst).activation(activation);
        let mut layer = naive(builder);
        disturb(&mut layer);
        let x: Array4<f32> = noise([4, 3, 2, 5], 1);
        let residual: Array4<f32> = noise([4, 3, 2, 5], 2);
        let with = activation == Activation::AddRelu;
        let input = |x: Input<'static, 'static, f32, _>| x;
        let borrowed = if with { Input::new(&x).residual(&residual) } else { Input::new(&x) };
        let (_, cache) = layer.forward(borrowed, Mode::TRAIN).unwrap();

        let dx = layer.backward(&x, &cache).unwrap();
        let dy = x.clone();
        let memory = dy.as_ptr();
        let owned = layer.backward(dy, &cache).unwrap();
        assert_eq!(owned, dx);
        assert_eq!(owned.dx.as_ptr(), memory);

        let borrowed = if with { Input::new(&x).residual(&residual) } else { Input::new(&x) };
        let y = layer.infer(borrowed).unwrap();
        let own = x.clone();
        let memory = own.as_ptr();
        let own = input(Input::new(own));
        let own = if with { layer.infer(own.residual(&residual)) } else { layer.infer(own) };
        let own = own.unwrap();
        assert_eq!((own.as_ptr(), &own), (memory, &y));

        let mut buffer = x.clone();
        let beside = with.then(|| residual.view());
        layer.infer_in_place(buffer.view_mut(), beside).unwrap();
        assert_eq!(buffer, y);
    }
}
