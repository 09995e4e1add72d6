//! What a layer's time is made of.

use std::time::Instant;

use bn_core::{
    Backward, BatchNormBackend, ForwardTraining, InOut, Problem, Request, SavedStatistics,
    SavedTensor,
};
use bn_rayon::RayonBackend;
use candle_core::{Device, Error, Result, Tensor};

use crate::contenders::{median, milliseconds};

/// The parts of one layer, in milliseconds.
pub(crate) struct Parts {
    /// The kernel of forward, on memory that is there.
    pub(crate) forward: f64,
    /// The kernel of backward, on memory that is there.
    pub(crate) backward: f64,
    /// Memory of y's size from the system, touched once: what each new tensor costs.
    pub(crate) fresh: f64,
    /// candle: the gradient of ones that backward starts with.
    pub(crate) seed: f64,
    /// candle: zeros for x's gradient, and the sum of those and ours.
    pub(crate) accumulate: f64,
}

pub(crate) fn of_layer(dims: &[usize], rounds: usize) -> Result<Parts> {
    let layout = bn_core::Layout::ChannelsFirst;
    let problem = Problem::new(dims, layout).map_err(Error::wrap)?;
    let x = Tensor::randn(0f32, 1.0, dims, &Device::Cpu)?;
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let (mut y, mut dx) = (values.clone(), values.clone());
    let (mut mean, mut inv_std) = (vec![0.0; dims[1]], vec![0.0; dims[1]]);
    let (gamma, beta) = (vec![1.0; dims[1]], vec![0.0; dims[1]]);
    let (mut dgamma, mut dbeta) = (vec![0.0; dims[1]], vec![0.0; dims[1]]);
    let backend = RayonBackend::default();

    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..=rounds {
        let start = Instant::now();
        let saved = SavedStatistics { mean: &mut mean[..], inv_std: &mut inv_std[..] };
        let request = ForwardTraining {
            gamma: Some(&gamma[..]),
            beta: Some(&beta[..]),
            ..ForwardTraining::new(problem, InOut::new(&values[..], &mut y[..]), saved)
        };
        let request = request.check().map_err(Error::wrap)?;
        backend.forward_training(request).map_err(Error::wrap)?;
        times[0].push(milliseconds(start));

        let start = Instant::now();
        let io = InOut::new(&y[..], &mut dx[..]);
        let request = Backward {
            gamma: Some(&gamma[..]),
            dgamma: Some(&mut dgamma[..]),
            dbeta: Some(&mut dbeta[..]),
            ..Backward::new(problem, io, SavedTensor::Input(&values[..]), &mean[..], &inv_std[..])
        };
        backend.backward(request.check().map_err(Error::wrap)?).map_err(Error::wrap)?;
        times[1].push(milliseconds(start));

        let start = Instant::now();
        let mut fresh = vec![0f32; problem.elements()];
        for page in fresh.chunks_mut(1024) {
            page[0] = 1.0;
        }
        std::hint::black_box(&fresh);
        drop(fresh);
        times[2].push(milliseconds(start));

        let start = Instant::now();
        drop(x.ones_like()?.contiguous()?);
        times[3].push(milliseconds(start));

        let start = Instant::now();
        drop((x.zeros_like()? + &x)?);
        times[4].push(milliseconds(start));
    }
    // The first round warms up.
    let [forward, backward, fresh, seed, accumulate] =
        times.map(|times| median(times[1..].to_vec()));
    Ok(Parts { forward, backward, fresh, seed, accumulate })
}
