//! Folding into the layer in front gives what the two layers give.

mod tensors;

use bn_candle::{BatchNorm, Layout};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Linear,
    Module,
};
use tensors::{difference, uniform};

fn layer(channels: usize) -> Result<BatchNorm> {
    let c = &[channels];
    let [mean, var, weight, bias] =
        [(0.1, 1), (1.0, 2), (1.2, 3), (0.0, 4)].map(|(mean, seed)| uniform(c, mean, 0.9, seed));
    BatchNorm::new(channels, mean?, var?, weight?, bias?, 1e-3)
}

fn same(folded: &impl Module, front: &impl Module, bn: &BatchNorm, x: &Tensor) -> Result<()> {
    let expected = bn.frozen().forward(&front.forward(x)?)?;
    let found = folded.forward(x)?;
    assert!(difference(&found, &expected)? < 1e-12);
    // The fold does something.
    assert!(difference(&front.forward(x)?, &expected)? > 1e-2);
    Ok(())
}

#[test]
fn convolutions_and_linear_layers() -> Result<()> {
    let bn = layer(4)?;
    for bias in [None, Some(uniform(&[4], 0.2, 1.0, 5)?)] {
        let config = Conv2dConfig { padding: 1, groups: 2, ..Default::default() };
        let conv = Conv2d::new(uniform(&[4, 3, 3, 3], 0.0, 1.0, 6)?, bias.clone(), config);
        let x = uniform(&[2, 6, 5, 5], 0.0, 2.0, 7)?;
        same(&bn.absorb_into_conv2d(&conv)?, &conv, &bn, &x)?;

        let config = Conv1dConfig { padding: 1, ..Default::default() };
        let conv = Conv1d::new(uniform(&[4, 3, 3], 0.0, 1.0, 6)?, bias.clone(), config);
        let x = uniform(&[2, 3, 5], 0.0, 2.0, 7)?;
        same(&bn.absorb_into_conv1d(&conv)?, &conv, &bn, &x)?;

        let config = ConvTranspose2dConfig { stride: 2, ..Default::default() };
        let weight = uniform(&[3, 4, 2, 2], 0.0, 1.0, 6)?;
        let conv = ConvTranspose2d::new(weight, bias.clone(), config);
        let x = uniform(&[2, 3, 5, 5], 0.0, 2.0, 7)?;
        same(&bn.absorb_into_conv_transpose2d(&conv)?, &conv, &bn, &x)?;

        let linear = Linear::new(uniform(&[4, 3], 0.0, 1.0, 6)?, bias);
        let x = uniform(&[5, 3], 0.0, 2.0, 7)?;
        same(&bn.absorb_into_linear(&linear)?, &linear, &bn, &x)?;
        let last = bn.clone().with_layout(Layout::ChannelsLast);
        same(&last.absorb_into_linear(&linear)?, &linear, &bn, &x)?;
    }
    Ok(())
}

#[test]
fn a_layer_without_parameters_folds_too() -> Result<()> {
    let (mean, var) = (uniform(&[4], 0.1, 0.9, 1)?, uniform(&[4], 1.0, 0.9, 2)?);
    let bn = BatchNorm::new_no_bias(4, mean, var, 1e-3)?;
    let linear = Linear::new(uniform(&[4, 3], 0.0, 1.0, 6)?, None);
    same(&bn.absorb_into_linear(&linear)?, &linear, &bn, &uniform(&[5, 3], 0.0, 2.0, 7)?)
}

#[test]
fn what_cannot_be_folded_is_refused() -> Result<()> {
    let bn = layer(4)?;
    let conv = |outputs: usize| {
        let weight = Tensor::zeros((outputs, 3, 3, 3), DType::F32, &Device::Cpu)?;
        Ok::<_, candle_core::Error>(Conv2d::new(weight, None, Conv2dConfig::default()))
    };
    let error = |bn: &BatchNorm, outputs| match bn.absorb_into_conv2d(&conv(outputs)?) {
        Ok(_) => Ok(String::new()),
        Err(error) => Ok::<_, candle_core::Error>(error.to_string()),
    };
    assert!(error(&bn, 5)?.contains("[5, 3, 3, 3]"));
    assert!(error(&bn.clone().with_relu(), 4)?.contains("ReLU"));
    assert!(error(&bn.clone().with_layout(Layout::ChannelsLast), 4)?.contains("come last"));
    assert_eq!(error(&bn.with_relu().without_relu(), 4)?, "");
    let three = Some(Tensor::zeros(3, DType::F32, &Device::Cpu)?);
    let linear = Linear::new(Tensor::zeros((4, 3), DType::F32, &Device::Cpu)?, three);
    assert!(layer(4)?.absorb_into_linear(&linear).is_err());
    Ok(())
}
