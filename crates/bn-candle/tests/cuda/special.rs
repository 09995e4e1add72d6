//! What the cases of types and layouts do not show, on the device as on the CPU.

use bn_candle::{BatchNorm, BatchNormConfig, batch_norm};
use candle_core::{DType, Device, Error, Result, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};

use crate::step::{Outputs, agree, tolerance};
use crate::tensors::{uniform, values};

type Run = fn(&Device) -> Result<()>;

/// Names and what they run.
pub const TRIALS: &[(&str, Run)] = &[
    ("large", large),
    ("mean-1e4", mean_1e4),
    ("no-parameters", no_parameters),
    ("parameters-alone", parameters_alone),
    ("mean-square", mean_square),
    ("mixed-types", mixed_types),
    ("odd-offsets", odd_offsets),
    ("momentum", momentum),
    ("one-value", one_value),
    ("second-order", second_order),
    ("twice-in-a-graph", twice_in_a_graph),
    ("threads", threads),
    ("other-stream", other_stream),
];

/// Runs a step on the CPU and on the device.
fn beside(
    device: &Device,
    tolerance: [f64; 2],
    what: &str,
    step: impl Fn(&Device) -> Result<Outputs>,
) -> Result<()> {
    agree(&step(device)?, &step(&Device::Cpu)?, tolerance, &what)
}

fn on(device: &Device, of: Tensor) -> Result<Var> {
    Var::from_tensor(&of.to_device(device)?)
}

fn plain(channels: usize, dtype: DType, device: &Device) -> Result<BatchNorm> {
    let zeros = Tensor::zeros(channels, dtype, device)?;
    BatchNorm::new_no_bias(channels, zeros.copy()?, zeros.ones_like()?, 1e-3)
}

fn parameter_type(dtype: DType) -> DType {
    if dtype == DType::F64 { dtype } else { DType::F32 }
}

/// Trains one step on some x and says what came of it.
fn trained(layer: &BatchNorm, x: &Var, seen: &Tensor) -> Result<Outputs> {
    let y = layer.forward_train(seen)?;
    let weights = uniform(y.dims(), 0.0, 2.0, 9)?.to_dtype(y.dtype())?.to_device(y.device())?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut outputs = vec![("y", y)];
    outputs.extend(gradients.get(x).map(|dx| ("dx", dx.clone())));
    if let Some((gamma, beta)) = layer.weight_and_bias() {
        outputs.extend(gradients.get(gamma).map(|dgamma| ("dgamma", dgamma.clone())));
        outputs.extend(gradients.get(beta).map(|dbeta| ("dbeta", dbeta.clone())));
    }
    outputs.push(("running_mean", layer.running_mean().copy()?));
    outputs.push(("running_var", layer.running_var().copy()?));
    Ok(outputs)
}

/// More than one block of every kernel has work, in each type.
fn large(device: &Device) -> Result<()> {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        for dims in [[16, 64, 56, 56], [8, 512, 7, 7], [5, 3, 33, 129]] {
            let x = uniform(&dims, 0.5, 3.0, 1)?.to_dtype(dtype)?;
            let step = |device: &Device| {
                let layer = plain(dims[1], parameter_type(dtype), device)?;
                // Of millions of values in f32 some lie so near 0 that rounding decides on the ReLU.
                let layer = if dtype == DType::F64 { layer.with_relu() } else { layer };
                let x = on(device, x.clone())?;
                trained(&layer, &x, &x)
            };
            beside(device, tolerance(dtype), &format!("{dims:?} {dtype:?}"), step)?;
        }
    }
    Ok(())
}

fn mean_1e4(device: &Device) -> Result<()> {
    let x = uniform(&[16, 4, 20, 20], 1e4, 2.0, 1)?.to_dtype(DType::F32)?;
    beside(device, [1e-5; 2], "mean 1e4", |device| {
        let x = on(device, x.clone())?;
        let outputs = trained(&plain(4, DType::F32, device)?, &x, &x)?;
        Ok(outputs.into_iter().filter(|(name, _)| *name != "running_mean").collect())
    })
}

fn no_parameters(device: &Device) -> Result<()> {
    beside(device, [1e-12; 2], "no parameters", |device| {
        let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 1)?)?;
        let residual = uniform(&[6, 3, 7], 0.5, 3.0, 2)?.to_device(device)?;
        let layer = plain(3, DType::F64, device)?;
        let mut outputs = trained(&layer, &x, &x)?;
        outputs.push(("y", layer.with_add_relu().forward_t(&x, &residual, true)?));
        Ok(outputs)
    })
}

/// x is no variable, so that nothing but sums is wanted.
fn parameters_alone(device: &Device) -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        beside(device, [1e-5; 2], "parameters alone", |device| {
            let of = |seed| on(device, uniform(&[3], 1.0, 1.0, seed)?.to_dtype(dtype)?);
            let (gamma, beta) = (of(1)?.as_tensor().clone(), of(2)?.as_tensor().clone());
            let zeros = Tensor::zeros(3, dtype, device)?;
            let layer = BatchNorm::new(3, zeros.copy()?, zeros.ones_like()?, gamma, beta, 1e-3)?
                .with_relu();
            let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 3)?.to_dtype(dtype)?)?;
            trained(&layer, &x, &x.detach())
        })?;
    }
    Ok(())
}

/// candle_nn's `remove_mean: false`.
fn mean_square(device: &Device) -> Result<()> {
    beside(device, [1e-12; 2], "mean square", |device| {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F64, device);
        let config = BatchNormConfig { remove_mean: false, ..BatchNormConfig::default() };
        let layer = batch_norm(3, config, vb)?.with_relu();
        let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 1)?)?;
        trained(&layer, &x, &x)
    })
}

/// A layer of `f64` whose x is `f32`.
fn mixed_types(device: &Device) -> Result<()> {
    beside(device, [1e-5; 2], "mixed types", |device| {
        let layer = plain(3, DType::F64, device)?;
        let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 1)?.to_dtype(DType::F32)?)?;
        let mut outputs = trained(&layer, &x, &x)?;
        outputs.push(("y", layer.forward_t(&x, false)?));
        Ok(outputs)
    })
}

/// Values that begin where no unit of 16 bytes does.
fn odd_offsets(device: &Device) -> Result<()> {
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        beside(device, tolerance(dtype), "odd offsets", |device| {
            let x = on(device, uniform(&[7, 3, 5, 5], 0.5, 3.0, 1)?.to_dtype(dtype)?)?;
            trained(&plain(3, parameter_type(dtype), device)?, &x, &x.narrow(0, 1, 5)?)
        })?;
    }
    Ok(())
}

/// Weights of nothing and of everything, and batches one after the other.
fn momentum(device: &Device) -> Result<()> {
    for momentum in [0.0, 0.25, 1.0] {
        beside(device, [1e-12; 2], "momentum", |device| {
            let zeros = Tensor::zeros(3, DType::F64, device)?;
            let var = zeros.ones_like()?;
            let layer = BatchNorm::new_no_bias_with_momentum(3, zeros, var, 1e-3, momentum)?;
            for seed in 0..3 {
                layer.forward_train(&uniform(&[6, 3, 7], 0.5, 3.0, seed)?.to_device(device)?)?;
            }
            let (mean, var) = (layer.running_mean().copy()?, layer.running_var().copy()?);
            Ok(vec![("running_mean", mean), ("running_var", var)])
        })?;
    }
    Ok(())
}

fn one_value(device: &Device) -> Result<()> {
    let layer = plain(3, DType::F32, device)?;
    let refused = layer.forward_train(&Tensor::zeros((1, 3), DType::F32, device)?);
    let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
    expect(error.contains("one value per channel"), &error)?;
    expect(values(layer.running_var())? == [1.0; 3], "the running variance has changed")
}

fn second_order(device: &Device) -> Result<()> {
    let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 1)?)?;
    let gradients =
        plain(3, DType::F64, device)?.forward_train(&x)?.sqr()?.sum_all()?.backward()?;
    let again = gradients.get(&x).expect("a gradient").sqr()?.sum_all()?.backward();
    let error = again.err().map(|error| error.to_string()).unwrap_or_default();
    expect(error.contains("no second-order gradient"), &error)
}

fn twice_in_a_graph(device: &Device) -> Result<()> {
    beside(device, [1e-11; 2], "twice in a graph", |device| {
        let layer = plain(3, DType::F64, device)?;
        let x = on(device, uniform(&[4, 3, 5], 0.5, 3.0, 3)?)?;
        let inner = layer.forward_train(&x)?.sin()?;
        trained(&layer, &x, &inner)
    })
}

/// Steps of many threads are those of one: by default each has a stream of its own.
fn threads(device: &Device) -> Result<()> {
    let run = |seed: u64| -> Result<Vec<f64>> {
        let layer = plain(32, DType::F32, device)?.with_relu();
        let x = on(device, uniform(&[16, 32, 28, 28], 0.5, 3.0, seed)?.to_dtype(DType::F32)?)?;
        let mut found = Vec::new();
        for _ in 0..10 {
            let outputs = trained(&layer, &x, &x)?;
            found = values(&outputs[1].1)?;
        }
        Ok(found)
    };
    let alone = (0..4).map(run).collect::<Result<Vec<_>>>()?;
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|one| one.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    expect(alone == together, "threads have met")
}

/// A device of candle's with a stream that it made.
fn other_stream(_: &Device) -> Result<()> {
    let device = Device::new_cuda_with_stream(0)?;
    beside(&device, [1e-12; 2], "another stream", |device| {
        let layer = plain(3, DType::F64, device)?.with_relu();
        let x = on(device, uniform(&[6, 3, 7], 0.5, 3.0, 1)?)?;
        trained(&layer, &x, &x)
    })
}

fn expect(holds: bool, words: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::msg(words.to_owned())) }
}
