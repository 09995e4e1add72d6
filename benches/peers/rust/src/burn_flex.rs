//! burn's layer on its CPU backend `flex`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::module::{Param, RunningState};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

use crate::arrays;
use crate::protocol::{Configuration, Hello, Operation, Peer, why_not};

/// The layer and its operands, once prepared.
#[derive(Default)]
pub(crate) struct Burn(Option<Box<dyn Ready>>);

impl Peer for Burn {
    fn hello(&self) -> Hello {
        Hello {
            name: "burn",
            version: "0.22.1",
            notes: &[
                "the backend flex, with its features simd and rayon",
                "outputs are new tensors: the API takes no buffer to write to",
                "training records for backward, as the layer asks for an autodiff device there",
                "backward: of sum(y * dy), since the API takes no gradient of y; the forward is not timed",
            ],
        }
    }

    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>> {
        self.0 = None;
        if let Some(reason) = why_not(&configuration) {
            return Ok(Some(reason));
        }
        // burn has the rank in a tensor's type.
        self.0 = Some(match configuration.shape.len() {
            2 => Box::new(Prepared::<2>::new(&configuration)?),
            3 => Box::new(Prepared::<3>::new(&configuration)?),
            4 => Box::new(Prepared::<4>::new(&configuration)?),
            5 => Box::new(Prepared::<5>::new(&configuration)?),
            rank => return Ok(Some(format!("measured with 2 to 5 dimensions, not {rank}"))),
        });
        Ok(None)
    }

    fn check(&mut self) -> Result<()> {
        self.0.as_mut().context("nothing is prepared")?.check()
    }

    fn run(&mut self, iterations: u32) -> Result<Duration> {
        let ready = self.0.as_mut().context("nothing is prepared")?;
        ready.time()?;
        (0..iterations).map(|_| ready.time()).sum()
    }
}

/// What is prepared, whatever its rank.
trait Ready {
    fn check(&mut self) -> Result<()>;
    fn time(&mut self) -> Result<Duration>;
}

struct Prepared<const D: usize> {
    operation: Operation,
    outputs: PathBuf,
    layer: BatchNorm,
    x: Tensor<D>,
    dy: Option<Tensor<D>>,
}

impl<const D: usize> Prepared<D> {
    fn new(configuration: &Configuration) -> Result<Self> {
        let Configuration { operation, shape, inputs, outputs, eps, momentum, .. } = configuration;
        let device = match operation {
            Operation::Inference => Device::flex(),
            Operation::Training | Operation::Backward => Device::flex().autodiff(),
        };
        let vector = |name| tensor::<1>(inputs, name, &shape[1..2], &device);
        let config = BatchNormConfig::new(shape[1]).with_epsilon(*eps).with_momentum(*momentum);
        let mut layer = config.init(&device);
        layer.gamma = Param::from_tensor(vector("gamma")?);
        layer.beta = Param::from_tensor(vector("beta")?);
        layer.running_mean = RunningState::new(vector("running_mean")?);
        layer.running_var = RunningState::new(vector("running_var")?);
        let mut x = tensor(inputs, "x", shape, &device)?;
        let mut dy = None;
        if *operation == Operation::Backward {
            x = x.require_grad();
            dy = Some(tensor(inputs, "dy", shape, &device)?);
        }
        Ok(Self { operation: *operation, outputs: outputs.clone(), layer, x, dy })
    }

    fn loss(&self) -> Result<Tensor<1>> {
        let dy = self.dy.clone().context("backward has a dy")?;
        Ok((self.layer.forward(self.x.clone()) * dy).sum())
    }
}

impl<const D: usize> Ready for Prepared<D> {
    fn check(&mut self) -> Result<()> {
        if self.operation != Operation::Backward {
            return write(&self.outputs, "y", self.layer.forward(self.x.clone()));
        }
        let gradients = self.loss()?.backward();
        let missing = "burn gave no gradient";
        write(&self.outputs, "dx", self.x.grad(&gradients).context(missing)?)?;
        for (name, parameter) in [("dgamma", &self.layer.gamma), ("dbeta", &self.layer.beta)] {
            write(&self.outputs, name, parameter.val().grad(&gradients).context(missing)?)?;
        }
        Ok(())
    }

    fn time(&mut self) -> Result<Duration> {
        if self.operation == Operation::Backward {
            let loss = self.loss()?;
            let start = Instant::now();
            let _gradients = loss.backward();
            return Ok(start.elapsed());
        }
        let x = self.x.clone();
        let start = Instant::now();
        let _y = self.layer.forward(x);
        Ok(start.elapsed())
    }
}

fn tensor<const D: usize>(
    folder: &Path,
    name: &str,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor<D>> {
    let data = TensorData::new(arrays::read(folder, name)?, shape.to_vec());
    Ok(Tensor::from_data(data, device))
}

fn write<const D: usize>(folder: &Path, name: &str, tensor: Tensor<D>) -> Result<()> {
    let shape: [usize; D] = tensor.dims();
    let values = tensor.into_data().try_to_vec::<f32>();
    let values = values.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    arrays::write(folder, name, &shape, values)
}
