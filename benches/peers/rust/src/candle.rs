//! candle-nn's layer on the CPU.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var, backprop::GradStore};
use candle_nn::{BatchNorm, ModuleT};

use crate::arrays;
use crate::protocol::{Configuration, Hello, Operation, Peer, why_not};

/// The layer and its operands, once prepared.
#[derive(Default)]
pub(crate) struct Candle(Option<Prepared>);

struct Prepared {
    operation: Operation,
    outputs: PathBuf,
    layer: BatchNorm,
    /// A variable for backward, so that a gradient is asked for.
    x: Tensor,
    parameters: [Tensor; 2],
    dy: Option<Tensor>,
}

impl Peer for Candle {
    fn hello(&self) -> Hello {
        Hello {
            name: "candle-nn",
            version: "0.11.1",
            notes: &[
                "outputs are new tensors: the API takes no buffer to write to",
                "backward: of sum(y * dy), since the API takes no gradient of y; the forward is not timed",
            ],
        }
    }

    fn prepare(&mut self, configuration: Configuration) -> Result<Option<String>> {
        self.0 = None;
        if let Some(reason) = why_not(&configuration) {
            return Ok(Some(reason));
        }
        let Configuration { operation, shape, inputs, outputs, eps, momentum, .. } = configuration;
        let channels = shape[1];
        let tensor = |name: &str, shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_vec(arrays::read(&inputs, name)?, shape, &Device::Cpu)?)
        };
        let vector = |name| tensor(name, &[channels]);
        let is_backward = operation == Operation::Backward;
        let variable = |tensor: Tensor| -> Result<Tensor> {
            Ok(if is_backward { Var::from_tensor(&tensor)?.into_inner() } else { tensor })
        };
        let parameters = [variable(vector("gamma")?)?, variable(vector("beta")?)?];
        let [gamma, beta] = parameters.clone();
        let (mean, var) = (vector("running_mean")?, vector("running_var")?);
        let layer = BatchNorm::new_with_momentum(channels, mean, var, gamma, beta, eps, momentum)?;
        let x = variable(tensor("x", &shape)?)?;
        let dy = if is_backward { Some(tensor("dy", &shape)?) } else { None };
        self.0 = Some(Prepared { operation, outputs, layer, x, parameters, dy });
        Ok(None)
    }

    fn check(&mut self) -> Result<()> {
        let prepared = self.prepared()?;
        let write = |name: &str, tensor: &Tensor| {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            arrays::write(&prepared.outputs, name, tensor.dims(), values)
        };
        if prepared.operation != Operation::Backward {
            return write("y", &prepared.forward()?);
        }
        let gradients = prepared.loss()?.backward()?;
        let of = |tensor| gradient(&gradients, tensor);
        let [gamma, beta] = &prepared.parameters;
        write("dx", of(&prepared.x)?)?;
        write("dgamma", of(gamma)?)?;
        write("dbeta", of(beta)?)
    }

    fn run(&mut self, iterations: u32) -> Result<Duration> {
        let prepared = self.prepared()?;
        prepared.time()?;
        (0..iterations).map(|_| prepared.time()).sum()
    }
}

impl Candle {
    fn prepared(&self) -> Result<&Prepared> {
        self.0.as_ref().context("nothing is prepared")
    }
}

impl Prepared {
    fn forward(&self) -> Result<Tensor> {
        Ok(self.layer.forward_t(&self.x, self.operation != Operation::Inference)?)
    }

    fn loss(&self) -> Result<Tensor> {
        let dy = self.dy.as_ref().context("backward has a dy")?;
        Ok((self.forward()? * dy)?.sum_all()?)
    }

    /// One iteration: what it computes is dropped after the clock has stopped.
    fn time(&self) -> Result<Duration> {
        if self.operation == Operation::Backward {
            let loss = self.loss()?;
            let start = Instant::now();
            let _gradients = loss.backward()?;
            return Ok(start.elapsed());
        }
        let start = Instant::now();
        let _y = self.forward()?;
        Ok(start.elapsed())
    }
}

fn gradient<'a>(gradients: &'a GradStore, of: &Tensor) -> Result<&'a Tensor> {
    gradients.get(of).context("candle gave no gradient")
}
