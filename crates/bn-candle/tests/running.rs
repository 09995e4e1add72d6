//! Running statistics, names and files: what candle_nn's layer shares with its VarMap, ours does.

mod tensors;

use bn_candle::{BatchNorm, BatchNormConfig, Mode, Momentum, RunningVariance, batch_norm};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use std::collections::HashMap;
use tensors::{difference, uniform, values};

fn plain() -> Result<BatchNorm> {
    let zeros = Tensor::zeros(2, DType::F64, &Device::Cpu)?;
    BatchNorm::new_no_bias(2, zeros.copy()?, zeros.ones_like()?, 1e-3)
}

/// Two values per channel: means 1 and 2, biased variances 1 and 4.
fn batch() -> Result<Tensor> {
    Tensor::new(&[[0.0, 0.0], [2.0, 4.0]], &Device::Cpu)
}

#[test]
fn conventions() -> Result<()> {
    let after = |layer: BatchNorm, batches: usize| -> Result<(Vec<f64>, Vec<f64>)> {
        (0..batches).try_for_each(|_| layer.forward_train(&batch()?).map(drop))?;
        Ok((values(layer.running_mean())?, values(layer.running_var())?))
    };
    let of = |momentum| plain()?.with_momentum(momentum);
    assert_eq!(after(of(Momentum::New(0.25))?, 1)?, (vec![0.25, 0.5], vec![1.25, 2.75]));
    assert_eq!(after(of(Momentum::Old(0.75))?, 1)?, (vec![0.25, 0.5], vec![1.25, 2.75]));
    let biased = of(Momentum::New(0.25))?.with_running_variance(RunningVariance::Biased);
    assert_eq!(after(biased, 1)?, (vec![0.25, 0.5], vec![1.0, 1.75]));
    let cumulative = of(Momentum::Cumulative)?;
    assert_eq!(cumulative.momentum(), 1.0);
    assert_eq!(after(cumulative.clone(), 4)?, (vec![1.0, 2.0], vec![2.0, 8.0]));
    assert_eq!((cumulative.num_batches_tracked(), cumulative.momentum()), (4, 0.2));
    assert!(of(Momentum::CaffeSum(0.9)).is_err());
    assert!(of(Momentum::New(1.5)).is_err());
    Ok(())
}

#[test]
fn modes_touch_what_they_say() -> Result<()> {
    let x = batch()?;
    let layer = plain()?;
    let evaluated = layer.forward_t(&x, false)?;
    let batch_only = layer.forward_mode(&x, Mode::BATCH_ONLY)?;
    assert_eq!(values(layer.running_mean())?, [0.0, 0.0]);
    assert_eq!(layer.num_batches_tracked(), 0);
    let recalibrated = layer.forward_mode(&x, Mode::RECALIBRATE)?;
    assert_eq!(difference(&recalibrated, &evaluated)?, 0.0);
    let trained = plain()?;
    assert_eq!(difference(&trained.forward_train(&x)?, &batch_only)?, 0.0);
    assert_eq!(values(layer.running_mean())?, values(trained.running_mean())?);
    assert_eq!(values(layer.running_var())?, values(trained.running_var())?);
    let untracked = plain()?.with_training_mode(Mode::BATCH_ONLY);
    assert_eq!(difference(&untracked.forward_t(&x, true)?, &batch_only)?, 0.0);
    assert_eq!(values(untracked.running_mean())?, [0.0, 0.0]);
    Ok(())
}

#[test]
fn a_refused_batch_leaves_the_statistics_alone() -> Result<()> {
    let layer = plain()?;
    let x = batch()?;
    for bad in [x.narrow(0, 0, 1)?, x.narrow(1, 0, 1)?, x.reshape(4)?, x.to_dtype(DType::U32)?] {
        for mode in [Mode::TRAIN, Mode::RECALIBRATE] {
            assert!(layer.forward_mode(&bad, mode).is_err(), "{bad:?}");
        }
    }
    assert_eq!(values(layer.running_mean())?, [0.0, 0.0]);
    assert_eq!((values(layer.running_var())?, layer.num_batches_tracked()), (vec![1.0; 2], 0));
    Ok(())
}

#[test]
fn the_map_sees_what_training_does() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let ours = batch_norm(3, BatchNormConfig::default(), vb.pp("bn"))?;
    // candle_nn's layer of the same name finds the same variables.
    let theirs = candle_nn::batch_norm(3, 1e-5, vb.pp("bn"))?;
    let x = uniform(&[4, 3, 5], 0.5, 3.0, 3)?.to_dtype(DType::F32)?;
    ours.forward_train(&x)?;
    assert_ne!(values(ours.running_mean())?, [0.0; 3]);
    assert_eq!(values(theirs.running_mean())?, values(ours.running_mean())?);
    let mut names: Vec<String> = map.data().lock().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"]);
    Ok(())
}

#[test]
fn files_of_candle_and_of_pytorch_are_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let theirs = candle_nn::batch_norm(3, 1e-5, vb)?;
    let x = uniform(&[4, 3, 5], 0.5, 3.0, 3)?.to_dtype(DType::F32)?;
    theirs.forward_train(&x)?;
    let file = folder.path().join("candle.safetensors");
    map.save(&file)?;
    let read = |file| -> Result<BatchNorm> {
        let tensors = candle_core::safetensors::load(file, &Device::Cpu)?;
        batch_norm(3, 1e-5, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))
    };
    let ours = read(&file)?;
    assert!(difference(&ours.forward_t(&x, false)?, &theirs.forward_t(&x, false)?)? < 1e-6);
    assert_eq!(ours.num_batches_tracked(), 0);

    // PyTorch counts its batches in a scalar of 64 bits.
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&file, &Device::Cpu)?;
    tensors.insert("num_batches_tracked".into(), Tensor::new(17i64, &Device::Cpu)?);
    let file = folder.path().join("pytorch.safetensors");
    candle_core::safetensors::save(&tensors, &file)?;
    assert_eq!(read(&file)?.num_batches_tracked(), 17);
    Ok(())
}

#[test]
fn sixteen_bit_builders_keep_f32_parameters() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::BF16, &Device::Cpu);
    let layer = batch_norm(3, 1e-5, vb)?;
    assert_eq!(layer.running_var().dtype(), DType::F32);
    assert_eq!(layer.weight_and_bias().unwrap().0.dtype(), DType::F32);
    // Made of 16-bit tensors, too, and x may be of any of the four types.
    let half = |value: f32| Tensor::full(value, 3, &Device::Cpu)?.to_dtype(DType::F16);
    let layer = BatchNorm::new(3, half(0.0)?, half(1.0)?, half(1.0)?, half(0.5)?, 1e-5)?;
    assert_eq!(layer.running_var().dtype(), DType::F32);
    let x = uniform(&[4, 3, 5], 0.5, 3.0, 3)?;
    let expected = layer.forward_mode(&x, Mode::BATCH_ONLY)?;
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        let y = layer.forward_train(&x.to_dtype(dtype)?)?;
        assert_eq!(y.dtype(), dtype);
        assert!(difference(&y, &expected)? < tolerance);
    }
    Ok(())
}
