//! The same layer or block three ways, and what each costs.

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Conv2dConfig, Module, ModuleT, VarBuilder, VarMap, conv2d_no_bias};

/// What one contender costs.
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    /// The peak of the heap above what was there, in bytes.
    pub(crate) peak: usize,
}

impl Cost {
    pub(crate) fn both(&self) -> f64 {
        self.forward + self.backward
    }
}

type Forward = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

/// The layer alone: candle_nn's and this crate's.
pub(crate) fn layer(dims: &[usize], rounds: usize) -> Result<Vec<Cost>> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let theirs = candle_nn::batch_norm(dims[1], 1e-5, vb.pp("theirs"))?;
    let ours = bn_candle::batch_norm(dims[1], 1e-5, vb.pp("ours"))?;
    let contenders: [(&str, Forward); 2] = [
        ("candle_nn", Box::new(move |x| theirs.forward_t(x, true))),
        ("bn_candle", Box::new(move |x| ours.forward_t(x, true))),
    ];
    compare(dims, &contenders, rounds)
}

/// The layer on a channels-last tensor that is seen channels-first.
pub(crate) fn view(dims: &[usize], rounds: usize) -> Result<Vec<Cost>> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let theirs = candle_nn::batch_norm(dims[1], 1e-5, vb.pp("theirs"))?;
    let ours = bn_candle::batch_norm(dims[1], 1e-5, vb.pp("ours"))?;
    let mut channels_last = dims.to_vec();
    channels_last[1..].rotate_left(1);
    let seen_first = |x: &Tensor| x.permute((0, 3, 1, 2));
    let contenders: [(&str, Forward); 2] = [
        ("candle_nn", Box::new(move |x| theirs.forward_t(&seen_first(x)?, true))),
        ("bn_candle", Box::new(move |x| ours.forward_t(&seen_first(x)?, true))),
    ];
    compare(&channels_last, &contenders, rounds)
}

/// A convolution, the layer, a ReLU: candle_nn's, this crate's in its place, and with the ReLU fused.
pub(crate) fn block(dims: &[usize], rounds: usize) -> Result<Vec<Cost>> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let channels = dims[1];
    let conv = conv2d_no_bias(channels, channels, 1, Conv2dConfig::default(), vb.pp("conv"))?;
    let theirs = candle_nn::batch_norm(channels, 1e-5, vb.pp("theirs"))?;
    let ours = bn_candle::batch_norm(channels, 1e-5, vb.pp("ours"))?;
    let fused = ours.clone().with_relu();
    let convs = [conv.clone(), conv.clone(), conv];
    let [first, second, third] = convs;
    let contenders: [(&str, Forward); 3] = [
        ("candle_nn", Box::new(move |x| theirs.forward_t(&first.forward(x)?, true)?.relu())),
        ("bn_candle", Box::new(move |x| ours.forward_t(&second.forward(x)?, true)?.relu())),
        ("bn_candle-fused", Box::new(move |x| fused.forward_t(&third.forward(x)?, true))),
    ];
    compare(dims, &contenders, rounds)
}

fn compare(
    dims: &[usize],
    contenders: &[(&'static str, Forward)],
    rounds: usize,
) -> Result<Vec<Cost>> {
    let x = Var::from_tensor(&Tensor::randn(0f32, 1.0, dims, &Device::Cpu)?)?;
    let mut times = vec![(Vec::new(), Vec::new()); contenders.len()];
    let mut peaks = Vec::new();
    for (_, forward) in contenders {
        forward(&x)?.backward()?;
        let before = crate::HEAP.reset_peak();
        forward(&x)?.backward()?;
        peaks.push(crate::HEAP.peak().saturating_sub(before));
    }
    for _ in 0..rounds {
        for ((_, forward), (forwards, backwards)) in contenders.iter().zip(&mut times) {
            // Once without a clock: the memory that is timed is then what this contender left free, as in
            // training, and not what the one before it did.
            forward(&x)?.backward()?;
            let start = Instant::now();
            let y = forward(&x)?;
            forwards.push(milliseconds(start));
            let start = Instant::now();
            let gradients = y.backward()?;
            backwards.push(milliseconds(start));
            drop((y, gradients));
        }
    }
    let costs = contenders.iter().zip(times).zip(peaks);
    Ok(costs
        .map(|((&(name, _), (forward, backward)), peak)| Cost {
            name,
            forward: median(forward),
            backward: median(backward),
            peak,
        })
        .collect())
}

/// Milliseconds since then.
pub(crate) fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The median of some times.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
