//! Forward: from the layer's state and x to one node of the graph.

use std::sync::{Arc, OnceLock};

use bn_core::{Layout, Mode, Problem, Statistics, Tracking, inv_std};
use candle_core::{DType, Device, DeviceLocation, Error, Result, Tensor, Var};

use super::BatchNorm;
use super::build::parameter_type;
use crate::node::{Batch, MemoryOrder, Node, Normalizer, Saved, batch_statistics};

impl BatchNorm {
    /// Normalises x in this mode, and differentiably in each.
    ///
    /// x has rank 2 or more and is `f32`, `f64`, `bf16` or `f16`; parameters are taken as `f32` (`f64` for
    /// `f64`). x may lie transposed in memory: it is read as it lies, and y lies likewise. Only a view
    /// with gaps or repeated values is copied, once.
    ///
    /// [`Mode::EVAL`] is evaluation and, where gradients are taken, frozen training.
    /// [`Mode::RECALIBRATE`] lets the batch enter the running statistics after they have normalised.
    ///
    /// # Errors
    ///
    /// A shape that does not fit the layer, a type or a device it does not compute on, one value per
    /// channel in training, [`Statistics::Given`]. The running statistics are then as they were.
    pub fn forward_mode(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward_with(x, None, mode)
    }

    pub(super) fn forward_with(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        match x.device() {
            Device::Cpu => self.forward_cpu(x, residual, mode),
            other => Err(Error::wrap(no_kernels(other.location()))),
        }
    }

    fn forward_cpu(&self, x: &Tensor, residual: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let (problem, channels) = self.check(x, residual)?;
        let (x, order) = match MemoryOrder::of(x, channels, &problem)? {
            Some(order) => (x.clone(), order),
            None => {
                let copy = x.contiguous()?;
                let order = MemoryOrder::of(&copy, channels, &problem)?;
                let order = order.ok_or_else(|| Error::msg("a contiguous copy with gaps"))?;
                (copy, order)
            }
        };
        let residual = residual.map(|residual| order.arrange(residual)).transpose()?;
        let affine = self.affine(x.dtype())?;
        let batch =
            Batch { eps: self.eps, single_value: self.single_value, variance: self.variance };
        let normalizer = match mode.statistics {
            Statistics::Batch if self.remove_mean => Normalizer::Batch(batch),
            Statistics::Batch => Normalizer::BatchUncentred(batch),
            Statistics::Running => self.running()?,
            Statistics::Given => candle_core::bail!(
                "a layer has no given statistics; expected those of the batch or running ones"
            ),
        };
        let differentiable = x.track_op()
            || residual.as_ref().is_some_and(Tensor::track_op)
            || affine.as_ref().is_some_and(|(gamma, beta)| gamma.track_op() || beta.track_op());
        let saved = Arc::new(OnceLock::new());
        let node = Node {
            order: order.clone(),
            normalizer,
            relu: self.relu,
            differentiable,
            saved: saved.clone(),
        };
        let affine = affine.as_ref().map(|(gamma, beta)| (gamma, beta));
        let y = node.apply(&x, affine, residual.as_ref())?;
        match (mode.tracking, mode.statistics) {
            (Tracking::Keep, _) => {}
            (Tracking::Update, Statistics::Batch) => {
                if let Some(saved) = saved.get() {
                    self.track(saved)?;
                }
            }
            (Tracking::Update, Statistics::Running | Statistics::Given) => {
                self.track(&batch_statistics(&x, &order, batch, self.remove_mean)?)?;
            }
        }
        order.to_logical(&y)
    }

    /// Refuses what does not fit the layer; gives the problem and the axis of the channels.
    fn check(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<(Problem, usize)> {
        let problem = Problem::new(x.dims(), self.layout).map_err(Error::wrap)?;
        let channels = match self.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => x.rank() - 1,
        };
        if problem.channels() != self.num_features() {
            candle_core::bail!(
                "batch-norm input of shape {:?} has {} channels ({}); expected {}",
                x.dims(),
                problem.channels(),
                self.layout,
                self.num_features()
            )
        }
        if let Some(residual) = residual
            && (residual.dims() != x.dims() || residual.dtype() != x.dtype())
        {
            candle_core::bail!(
                "the residual is {:?} of shape {:?}; expected {:?} of shape {:?}, as x",
                residual.dtype(),
                residual.dims(),
                x.dtype(),
                x.dims()
            )
        }
        Ok((problem, channels))
    }

    /// Gamma and beta in the parameter type of x: themselves, or a conversion that candle differentiates.
    fn affine(&self, x: DType) -> Result<Option<(Tensor, Tensor)>> {
        let dtype = parameter_type(x);
        let convert = |parameter: &Tensor| parameter.to_dtype(dtype)?.contiguous();
        self.weight_and_bias
            .as_ref()
            .map(|(weight, bias)| Ok((convert(weight)?, convert(bias)?)))
            .transpose()
    }

    /// The running statistics as they are now: what happens to them later does not reach backward.
    ///
    /// Under the lock of the count, so that mean and variance are those of the same moment.
    fn running(&self) -> Result<Normalizer> {
        let _seen = self.lock_seen();
        let inv_std = host(&self.running_var)?.iter().map(|&var| inv_std(var, self.eps)).collect();
        Ok(Normalizer::Fixed { mean: host(&self.running_mean)?, inv_std })
    }

    /// Lets a batch enter the running statistics, in place, and counts it.
    ///
    /// Under the lock of the count, so that batches of several threads enter one after the other.
    fn track(&self, saved: &Saved) -> Result<()> {
        let (mean, variance) = saved.batch_statistics();
        let mut seen = self.lock_seen();
        let blend = self.momentum.blend(&seen);
        let blended = |running: &Var, batch: &[f64]| {
            let values: Vec<f64> = host(running)?
                .iter()
                .zip(batch)
                .map(|(&running, &batch)| blend.apply(running, batch))
                .collect();
            Tensor::from_vec(values, batch.len(), running.device())?.to_dtype(running.dtype())
        };
        let mean = self.remove_mean.then(|| blended(&self.running_mean, mean)).transpose()?;
        self.running_var.set(&blended(&self.running_var, variance)?)?;
        if let Some(mean) = mean {
            self.running_mean.set(&mean)?;
        }
        *seen = seen.next::<f64>(&self.momentum);
        Ok(())
    }
}

/// Why the layer does not compute on a device.
fn no_kernels(location: DeviceLocation) -> bn_core::Error {
    let reason = match location {
        DeviceLocation::Cuda { gpu_id } => format!(
            "x is on CUDA device {gpu_id}, and bn-cuda's kernels are not in this build; expected the \
             CPU. CandleBackend computes there with candle's own operations"
        ),
        other => format!(
            "x is on {other:?}, for which the layer has no kernels; expected the CPU. CandleBackend \
             computes there with candle's own operations"
        ),
    };
    bn_core::Error::Unavailable { backend: "batch-norm layer", reason }
}

/// C values on the host.
fn host(values: &Tensor) -> Result<Vec<f64>> {
    values.to_dtype(DType::F64)?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// candle gives out no tensor on a device that this build has not, so the words are tried alone.
    #[test]
    fn a_device_without_kernels_is_named() {
        let cuda = no_kernels(DeviceLocation::Cuda { gpu_id: 1 }).to_string();
        assert!(cuda.contains("CUDA device 1") && cuda.contains("bn-cuda's kernels are not in"));
        let metal = no_kernels(DeviceLocation::Metal { gpu_id: 0 }).to_string();
        assert!(metal.contains("Metal") && metal.contains("expected the CPU"), "{metal}");
    }
}
