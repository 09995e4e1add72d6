//! candle_nn's layer on the device, which computes in the type of the parameters.

use bn_candle::{Layout, Mode};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ModuleT;

use crate::step::{Case, Operands, Outputs, agree, tolerance};

/// Every layout and epilogue in the modes that candle_nn has, and what it has of the others.
pub fn beside_candle_nn(dtype: DType, device: &Device) -> Result<()> {
    let allowed = match dtype {
        DType::F64 => [1e-10; 2],
        DType::F32 => [1e-4; 2],
        // candle_nn takes the sums of parameters in f32.
        other => [tolerance(other)[0], 1e-4],
    };
    for case in Case::all(dtype) {
        if case.mode == Mode::RECALIBRATE {
            continue;
        }
        let operands = Operands::new(&case)?.on(device)?;
        let mut found = operands.step(&case)?;
        let mut expected = step(&operands, &case)?;
        if case.mode == Mode::BATCH_ONLY {
            // candle_nn always tracks.
            for outputs in [&mut found, &mut expected] {
                outputs.retain(|(name, _)| !name.starts_with("running"));
            }
        }
        agree(&found, &expected, allowed, &case)?;
    }
    Ok(())
}

fn step(operands: &Operands, case: &Case) -> Result<Outputs> {
    let Operands { gamma, beta, .. } = operands;
    let [mean, var] = operands.running()?;
    let (weight, bias) = (gamma.as_tensor().clone(), beta.as_tensor().clone());
    let layer = candle_nn::BatchNorm::new(3, mean, var, weight, bias, 1e-3)?;
    let channels_first = |tensor: &Tensor| match case.layout {
        Layout::ChannelsFirst => Ok(tensor.clone()),
        Layout::ChannelsLast => tensor.permute((0, 3, 1, 2)),
    };
    let wide = |tensor: &Tensor| channels_first(&case.seen(tensor)?)?.to_dtype(gamma.dtype());
    let y = layer.forward_t(&wide(&operands.x)?, case.mode != Mode::EVAL)?;
    let y = if case.residual { (y + wide(&operands.residual)?)? } else { y };
    let y = if case.relu { y.relu()? } else { y };
    let gradients = (&y * wide(&operands.dy)?)?.sum_all()?.backward()?;
    let of = |variable: &Tensor| gradients.get(variable).expect("a gradient").clone();
    let seen = match case.layout {
        Layout::ChannelsFirst => y,
        Layout::ChannelsLast => y.permute((0, 2, 3, 1))?,
    };
    let mut outputs = vec![
        ("y", seen),
        ("dx", of(&operands.x)),
        ("dgamma", of(gamma)),
        ("dbeta", of(beta)),
        ("running_mean", layer.running_mean().copy()?),
        ("running_var", layer.running_var().copy()?),
    ];
    if case.residual {
        outputs.push(("dresidual", of(&operands.residual)));
    }
    Ok(outputs)
}
