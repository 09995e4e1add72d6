//! A network that trains, with both layers: in `f64` the two stay together.

mod tensors;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{ModuleT, Optimizer, SGD, VarBuilder, VarMap};
use tensors::uniform;

/// The losses of some steps of a residual network, from the same start whatever the layer.
fn losses(
    norm: impl Fn(VarBuilder<'_>) -> Result<Box<dyn ModuleT>>,
    steps: usize,
) -> Result<Vec<f64>> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
    let (first, second) = (norm(vb.pp("first"))?, norm(vb.pp("second"))?);
    let stem = Var::from_tensor(&uniform(&[4, 2, 3, 3], 0.0, 0.8, 1)?)?;
    let conv = Var::from_tensor(&uniform(&[4, 4, 3, 3], 0.0, 0.6, 2)?)?;
    let x = uniform(&[6, 2, 5, 5], 0.2, 2.0, 3)?;
    let target = uniform(&[6, 4], 0.0, 2.0, 4)?;

    let mut variables = map.all_vars();
    variables.extend([stem.clone(), conv.clone()]);
    let mut optimizer = SGD::new(variables, 0.2)?;
    (0..steps)
        .map(|_| {
            let h = first.forward_t(&x.conv2d(&stem, 1, 1, 1, 1)?, true)?.relu()?;
            let y = second.forward_t(&h.conv2d(&conv, 1, 1, 1, 1)?, true)?;
            let y = (y + h)?.relu()?.mean((2, 3))?;
            let loss = (y - &target)?.sqr()?.mean_all()?;
            optimizer.backward_step(&loss)?;
            loss.to_scalar()
        })
        .collect()
}

#[test]
fn both_layers_train_alike() -> Result<()> {
    let ours = losses(|vb| Ok(Box::new(bn_candle::batch_norm(4, 1e-5, vb)?)), 25)?;
    let theirs = losses(|vb| Ok(Box::new(candle_nn::batch_norm(4, 1e-5, vb)?)), 25)?;
    for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() < 1e-9, "step {step}: {ours} and {theirs}");
    }
    assert!(ours[24] < 0.8 * ours[0], "the loss falls: {ours:?}");
    Ok(())
}

#[test]
fn the_digits_are_those_of_scikit_learn() -> Result<()> {
    let rows = Tensor::read_npy(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.npy"))?;
    assert_eq!((rows.dims(), rows.dtype()), (&[1797, 65][..], DType::U8));
    let digits = rows.narrow(1, 64, 1)?.flatten_all()?.to_vec1::<u8>()?;
    let counts = (0..10).map(|digit| digits.iter().filter(|&&found| found == digit).count());
    assert_eq!(counts.collect::<Vec<_>>(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    Ok(())
}
