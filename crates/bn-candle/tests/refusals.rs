//! Bad input: an error that says what was found and what was expected.

mod tensors;

use bn_candle::{BatchNorm, BatchNormConfig, Layout, Mode, Statistics, Tracking, batch_norm};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};

fn layer(channels: usize) -> Result<BatchNorm> {
    let zeros = Tensor::zeros(channels, DType::F32, &Device::Cpu)?;
    BatchNorm::new_no_bias(channels, zeros.copy()?, zeros, 1e-5)
}

fn x(dims: &[usize]) -> Result<Tensor> {
    Tensor::zeros(dims, DType::F32, &Device::Cpu)
}

fn refused(result: Result<Tensor>, words: &[&str]) {
    let error = result.expect_err("bad input").to_string();
    for word in words {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}

#[test]
fn shapes() -> Result<()> {
    let layer = layer(3)?;
    refused(layer.forward_train(&x(&[3])?), &["[3]", "rank 1", "rank 2 or more"]);
    refused(layer.forward_train(&x(&[2, 4, 5])?), &["[2, 4, 5]", "4 channels", "expected 3"]);
    let last = layer.clone().with_layout(Layout::ChannelsLast);
    refused(last.forward_train(&x(&[2, 3, 5])?), &["5 channels (channels-last)", "expected 3"]);
    refused(layer.forward_train(&x(&[0, 3, 5])?), &["no values"]);
    refused(layer.forward_train(&x(&[1, 3])?), &["one value per channel"]);
    Ok(())
}

#[test]
fn types_modes_and_residuals() -> Result<()> {
    let layer = layer(3)?;
    refused(layer.forward_train(&x(&[2, 3])?.to_dtype(DType::U32)?), &["U32", "batch-norm"]);
    let given = Mode { statistics: Statistics::Given, tracking: Tracking::Keep };
    refused(layer.forward_mode(&x(&[2, 3])?, given), &["no given statistics"]);
    let add = layer.with_add_relu();
    refused(add.forward_t(&x(&[2, 3])?, &x(&[3, 2])?, true), &["[3, 2]", "[2, 3]"]);
    let other = x(&[2, 3])?.to_dtype(DType::F64)?;
    refused(add.forward_t(&x(&[2, 3])?, &other, true), &["F64", "F32"]);
    Ok(())
}

#[test]
fn settings() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let made = |config: BatchNormConfig| match batch_norm(3, config, vb.clone()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let config = BatchNormConfig::default();
    assert!(made(BatchNormConfig { eps: 0.0, ..config }).contains("eps is 0"));
    assert!(made(BatchNormConfig { eps: f64::NAN, ..config }).contains("eps is NaN"));
    assert!(made(BatchNormConfig { momentum: 1.5, ..config }).contains("momentum"));
    assert_eq!(made(config), "");
    let zeros = Tensor::zeros(4, DType::F32, &Device::Cpu)?;
    let wrong = BatchNorm::new_no_bias(3, zeros.copy()?, zeros, 1e-5);
    assert!(wrong.unwrap_err().to_string().contains("running_mean has shape [4]; expected [3]"));
    Ok(())
}
