//! What a layer takes on the device: candle_nn's and ours in turns, each waited for.

use std::fmt::Write as _;
use std::time::Instant;

use candle_core::{DType, Device, Error, Result, Tensor, Var};
use candle_nn::ModuleT;

const DIMS: [usize; 4] = [32, 64, 112, 112];
const ROUNDS: usize = 21;

type Forward = Box<dyn Fn(&Tensor, bool) -> Result<Tensor>>;

/// The medians of each layer and type, as a table: microseconds.
pub fn table(device: &Device) -> Result<String> {
    let mut table = format!(
        "\n32×64×112×112, µs, median of {ROUNDS}; forward of training, backward with candle's share, inference\n\n\
         type  layer      forward  backward      both  inference\n"
    );
    for dtype in [DType::F32, DType::BF16] {
        for (name, [forward, backward, inference]) in medians(dtype, device)? {
            let (word, both) = (dtype.as_str(), forward + backward);
            let row = format!(
                "{word:5} {name:9} {forward:8.0} {backward:9.0} {both:9.0} {inference:10.0}"
            );
            writeln!(table, "{row}").map_err(Error::wrap)?;
        }
    }
    Ok(table)
}

fn medians(dtype: DType, device: &Device) -> Result<Vec<(&'static str, [f64; 3])>> {
    let x = Var::from_tensor(&Tensor::randn(0f32, 1.0, &DIMS, device)?.to_dtype(dtype)?)?;
    let contenders = contenders(dtype, device)?;
    let mut times = vec![[const { Vec::new() }; 3]; contenders.len()];
    for round in 0..=ROUNDS {
        for ((_, forward), times) in contenders.iter().zip(&mut times) {
            let (y, forward_time) = timed(device, || forward(&x, true))?;
            let (gradients, backward_time) = timed(device, || y.backward())?;
            drop((y, gradients));
            let (_, inference_time) = timed(device, || forward(&x.detach(), false))?;
            // The first round compiles kernels and fills the pools of memory.
            if round > 0 {
                for (times, time) in
                    times.iter_mut().zip([forward_time, backward_time, inference_time])
                {
                    times.push(time);
                }
            }
        }
    }
    let named = contenders.iter().zip(times);
    Ok(named.map(|((name, _), times)| (*name, times.map(median))).collect())
}

/// candle_nn's layer has its parameters in the type of x, and in evaluation its statistics too.
fn contenders(dtype: DType, device: &Device) -> Result<[(&'static str, Forward); 2]> {
    let channels = DIMS[1];
    let zeros = Tensor::zeros(channels, DType::F32, device)?;
    let ones = zeros.ones_like()?;
    let variable = |tensor: &Tensor, dtype: DType| {
        Ok::<_, Error>(Var::from_tensor(&tensor.to_dtype(dtype)?)?.into_inner())
    };
    let theirs = |statistics: DType| {
        let (mean, var) = (zeros.to_dtype(statistics)?, ones.to_dtype(statistics)?);
        let (weight, bias) = (variable(&ones, dtype)?, variable(&zeros, dtype)?);
        candle_nn::BatchNorm::new(channels, mean, var, weight, bias, 1e-5)
    };
    let (trains, evaluates) = (theirs(DType::F32)?, theirs(dtype)?);
    let (weight, bias) = (variable(&ones, DType::F32)?, variable(&zeros, DType::F32)?);
    let ours = bn_candle::BatchNorm::new(channels, zeros, ones, weight, bias, 1e-5)?;
    let theirs = move |x: &Tensor, train: bool| {
        if train { trains.forward_t(x, true) } else { evaluates.forward_t(x, false) }
    };
    Ok([
        ("candle_nn", Box::new(theirs)),
        ("bn_candle", Box::new(move |x, train| ours.forward_t(x, train))),
    ])
}

/// Microseconds from a device at rest to a device at rest.
fn timed<R>(device: &Device, run: impl FnOnce() -> Result<R>) -> Result<(R, f64)> {
    device.synchronize()?;
    let start = Instant::now();
    let result = run()?;
    device.synchronize()?;
    Ok((result, start.elapsed().as_secs_f64() * 1e6))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
