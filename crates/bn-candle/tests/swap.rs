//! One program, written for candle_nn's layer, under each of the two imports.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};

/// A program that uses all that candle_nn's layer offers.
macro_rules! program {
    ($module:ident, $layers:ident) => {
        mod $module {
            use super::*;
            use ::$layers::{BatchNorm, BatchNormConfig, batch_norm};

            struct Network {
                conv: candle_nn::Conv2d,
                bn: BatchNorm,
            }

            impl Network {
                fn new(vb: VarBuilder<'_>) -> Result<Self> {
                    let config = candle_nn::Conv2dConfig::default();
                    let weight =
                        vb.get_with_hints((3, 2, 3, 3), "conv", candle_nn::Init::Const(0.1))?;
                    let conv = candle_nn::Conv2d::new(weight, None, config);
                    Ok(Self { conv, bn: batch_norm(3, 1e-3, vb.pp("bn"))? })
                }
            }

            impl ModuleT for Network {
                fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
                    x.apply(&self.conv)?.apply_t(&self.bn, train)?.relu()
                }
            }

            pub(super) fn run() -> Result<(Vec<Vec<f32>>, Vec<String>)> {
                let map = VarMap::new();
                let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
                let network = Network::new(vb.pp("net"))?;
                let x = (Tensor::arange(0f32, 200.0, &Device::Cpu)? * 0.37)?.sin()?;
                let x = x.reshape((4, 2, 5, 5))?;
                let trained = network.forward_t(&x, true)?;
                let evaluated = network.forward_t(&x, false)?;

                let config = BatchNormConfig { eps: 1e-3, affine: false, ..Default::default() };
                let plain =
                    batch_norm(2, BatchNormConfig { momentum: 0.3, ..config }, vb.pp("plain"))?;
                let c = |value: f32| Tensor::full(value, 2, &Device::Cpu);
                let made = [
                    BatchNorm::new(2, c(0.1)?, c(1.0)?, c(2.0)?, c(0.5)?, 1e-3)?,
                    BatchNorm::new_no_bias(2, c(0.1)?, c(1.0)?, 1e-3)?,
                    BatchNorm::new_with_momentum(2, c(0.1)?, c(1.0)?, c(2.0)?, c(0.5)?, 1e-3, 0.3)?,
                    BatchNorm::new_no_bias_with_momentum(2, c(0.1)?, c(1.0)?, 1e-3, 0.3)?,
                    plain.clone(),
                ];
                let mut outputs = vec![trained, evaluated];
                for layer in &made {
                    outputs.push(layer.forward_train(&x)?);
                    outputs.push(layer.running_mean().clone());
                    outputs.push(layer.running_var().clone());
                    let has_both = layer.weight_and_bias().is_some();
                    outputs.push(Tensor::new(
                        &[
                            layer.eps() as f32,
                            layer.momentum() as f32,
                            f32::from(u8::from(has_both)),
                        ],
                        &Device::Cpu,
                    )?);
                }
                let outputs = outputs.iter().map(|output| output.flatten_all()?.to_vec1());
                let mut names: Vec<_> = map.data().lock().unwrap().keys().cloned().collect();
                names.sort();
                Ok((outputs.collect::<Result<_>>()?, names))
            }
        }
    };
}

program!(theirs, candle_nn);
program!(ours, bn_candle);

#[test]
fn replacing_the_import_is_enough() -> Result<()> {
    let ((theirs, their_names), (ours, our_names)) = (theirs::run()?, ours::run()?);
    assert_eq!(our_names, their_names);
    assert_eq!(ours.len(), theirs.len());
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-5, "output {number}: {ours} and {theirs}");
        }
    }
    Ok(())
}
