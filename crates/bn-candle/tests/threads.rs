//! The layer in several threads, and in pools of several sizes.

mod tensors;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bn_candle::{BatchNorm, Mode};
use candle_core::{DType, Device, Error, Result, Tensor};
use tensors::{values, variable, weighted_sum};

fn plain(momentum: f64) -> Result<BatchNorm> {
    let zeros = Tensor::zeros(1, DType::F64, &Device::Cpu)?;
    BatchNorm::new_no_bias_with_momentum(1, zeros.copy()?, zeros.ones_like()?, 1e-3, momentum)
}

#[test]
fn the_bits_do_not_depend_on_the_pool() -> Result<()> {
    let run = |threads: usize| -> Result<Vec<Vec<f64>>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map_err(Error::wrap)?.install(|| {
            let x = variable(&[16, 8, 40, 40], 0.5, 3.0, 1, DType::F32)?;
            let gamma = variable(&[8], 1.0, 1.0, 2, DType::F32)?;
            let beta = variable(&[8], 0.0, 1.0, 3, DType::F32)?;
            let zeros = Tensor::zeros(8, DType::F32, &Device::Cpu)?;
            let (g, b) = (gamma.as_tensor().clone(), beta.as_tensor().clone());
            let layer = BatchNorm::new(8, zeros.copy()?, zeros, g, b, 1e-3)?.with_relu();
            let y = layer.forward_train(&x)?;
            let gradients = weighted_sum(&y, 4)?.backward()?;
            let of = |variable: &Tensor| values(gradients.get(variable).expect("a gradient"));
            Ok(vec![values(&y)?, of(&x)?, of(&gamma)?, of(&beta)?, values(layer.running_var())?])
        })
    };
    let one = run(1)?;
    for threads in [2, 3, 5] {
        assert_eq!(run(threads)?, one, "{threads} threads");
    }
    Ok(())
}

#[test]
fn backward_may_run_in_another_thread_than_forward() -> Result<()> {
    let layer = plain(0.1)?.with_relu();
    let x = variable(&[6, 1, 9], 0.5, 3.0, 1, DType::F64)?;
    let here = weighted_sum(&layer.forward_train(&x)?, 2)?.backward()?;
    let loss = weighted_sum(&layer.forward_train(&x)?, 2)?;
    let there = std::thread::spawn(move || loss.backward()).join().expect("no panic")?;
    assert_eq!(values(here.get(&x).unwrap())?, values(there.get(&x).unwrap())?);
    Ok(())
}

/// With a momentum of 1 the running statistics are those of the latest batch, here of one of two. What
/// evaluation reads while they change is the mean and the variance of the same one.
#[test]
fn evaluation_never_mixes_the_statistics_of_two_batches() -> Result<()> {
    let layer = plain(1.0)?;
    let batch = |values: [f64; 2]| Tensor::from_slice(&values, (2, 1), &Device::Cpu);
    let batches = [batch([-1.0, 1.0])?, batch([90.0, 110.0])?];
    let probe = batch([50.0, 50.0])?;
    let mut seen = Vec::new();
    for batch in &batches {
        layer.forward_train(batch)?;
        seen.push(values(&layer.forward_mode(&probe, Mode::EVAL)?)?);
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trainer = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                batches.iter().try_for_each(|batch| layer.forward_train(batch).map(drop))?;
            }
            Ok::<(), Error>(())
        });
        // Long enough to meet many changes, however busy the machine is.
        let start = Instant::now();
        let (mut latest, mut changes) = (seen[1].clone(), 0);
        while changes < 2000 && start.elapsed() < Duration::from_secs(5) {
            let y = values(&layer.forward_mode(&probe, Mode::EVAL)?)?;
            changes += usize::from(y != latest);
            if !seen.contains(&y) {
                ended.store(true, Ordering::Relaxed);
                panic!("{y:?} is neither batch's: {seen:?}");
            }
            latest = y;
        }
        ended.store(true, Ordering::Relaxed);
        trainer.join().expect("no panic")?;
        Ok(())
    })
}
