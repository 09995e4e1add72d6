//! The training of one network.

use std::time::{Duration, Instant};

use candle_core::{D, DType, Device, Result};
use candle_nn::{AdamW, ModuleT, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::digits::Digits;
use crate::network::{Kind, Network, initialise};

const SEED: u64 = 1998;
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 3e-3;

/// What came of a training.
#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    /// The layer's name.
    pub(crate) layer: String,
    /// The loss of every batch.
    pub(crate) losses: Vec<f32>,
    /// How many batches an epoch has.
    pub(crate) batches: usize,
    /// The share of the held-out fifth that is recognised, after every epoch.
    pub(crate) accuracy: Vec<f64>,
    /// The time of forward, backward and update of all batches.
    pub(crate) seconds: f64,
    /// The peak of the heap, in bytes.
    pub(crate) peak_heap: usize,
    /// The peak of resident memory, in bytes, where the system says it.
    pub(crate) peak_resident: Option<usize>,
}

impl Run {
    /// The share that is recognised at the end.
    pub(crate) fn last_accuracy(&self) -> f64 {
        self.accuracy.last().copied().unwrap_or_default()
    }
}

/// Trains a network; a progress bar is drawn where standard error is a terminal.
pub(crate) fn train(kind: Kind, epochs: usize) -> Result<Run> {
    let mut rng = Rng::with_seed(SEED);
    let [training, held_out] = Digits::load(&mut rng)?;
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let network = Network::new(kind, &vb)?;
    initialise(&map, &mut rng)?;
    let settings = ParamsAdamW { lr: LEARNING_RATE, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(map.all_vars(), settings)?;

    let batches = training.len() / BATCH;
    let bar = ProgressBar::new((epochs * batches) as u64).with_style(style()?);
    bar.set_prefix(kind.name());
    let (mut losses, mut accuracy, mut time) = (Vec::new(), Vec::new(), Duration::ZERO);
    crate::HEAP.reset_peak();
    let mut order: Vec<u32> = (0u32..).take(training.len()).collect();
    for epoch in 0..epochs {
        optimizer.set_learning_rate(LEARNING_RATE * (1.0 - epoch as f64 / epochs as f64));
        rng.shuffle(&mut order);
        // What is left over at the end of an epoch comes up in the next.
        for places in order.chunks_exact(BATCH) {
            let batch = training.batch(places)?;
            let start = Instant::now();
            let loss =
                loss::cross_entropy(&network.forward_t(&batch.images, true)?, &batch.labels)?;
            optimizer.backward_step(&loss)?;
            time += start.elapsed();
            losses.push(loss.to_scalar()?);
            bar.inc(1);
        }
        accuracy.push(recognised(&network, &held_out)?);
        bar.set_message(format!(
            "epoch {:>2}/{epochs}: loss {:.4}, held out {:.2} %",
            epoch + 1,
            mean(&losses[epoch * batches..]),
            accuracy[epoch] * 100.0
        ));
    }
    bar.finish();
    Ok(Run {
        layer: kind.name().to_owned(),
        losses,
        batches,
        accuracy,
        seconds: time.as_secs_f64(),
        peak_heap: crate::HEAP.peak(),
        peak_resident: peak_resident(),
    })
}

/// The mean of some losses.
pub(crate) fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}

fn recognised(network: &Network, digits: &Digits) -> Result<f64> {
    let guess = network.forward_t(&digits.images, false)?.argmax(D::Minus1)?;
    let right = guess.eq(&digits.labels)?.to_dtype(DType::F64)?;
    right.mean_all()?.to_scalar()
}

fn style() -> Result<ProgressStyle> {
    ProgressStyle::with_template("{prefix:<15} {bar:30} {elapsed:>4} {msg}")
        .map_err(candle_core::Error::wrap)
}

/// `VmHWM` of this process.
fn peak_resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}
