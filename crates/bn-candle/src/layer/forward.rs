//! Forward: from the layer's state and x to one node of the graph.

use std::sync::{Arc, MutexGuard, OnceLock};

use bn_core::{Blend, Layout, Mode, Problem, Seen, Statistics, Tracking};
use candle_core::{DType, Error, Result, Tensor, Var};

use super::BatchNorm;
use super::build::parameter_type;
use crate::node::{
    Batch, BatchStatistics, MemoryOrder, Node, Normalizer, Report, Tracked, batch_statistics,
    check_device,
};

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
        check_device(x.device())?;
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
        // On a GPU the running statistics are read and updated by the kernels that normalise, under the lock of
        // the count until those are queued. On the CPU no lock may be held across work of the rayon pool, whose
        // threads may take up another forward while they wait: there, they are copied before and updated after.
        let mut held = (!x.device().is_cpu()).then(|| self.lock_seen());
        let dtype = parameter_type(x.dtype());
        let normalizer = match mode.statistics {
            Statistics::Batch if self.remove_mean => {
                let enters =
                    mode.tracking == Tracking::Update && self.running_mean.dtype() == dtype;
                let seen = held.as_deref().filter(|_| enters);
                Normalizer::Batch(batch, seen.map(|&seen| self.tracked(seen)))
            }
            Statistics::Batch => Normalizer::BatchUncentred(batch),
            Statistics::Running => self.running(dtype, held.as_ref())?,
            Statistics::Given => candle_core::bail!(
                "a layer has no given statistics; expected those of the batch or running ones"
            ),
        };
        let differentiable = x.track_op()
            || residual.as_ref().is_some_and(Tensor::track_op)
            || affine.as_ref().is_some_and(|(gamma, beta)| gamma.track_op() || beta.track_op());
        let saved = Arc::new(OnceLock::new());
        let node = Node {
            device: x.device().clone(),
            order: order.clone(),
            normalizer,
            relu: self.relu,
            differentiable,
            saved: saved.clone(),
        };
        let affine = affine.as_ref().map(|(gamma, beta)| (gamma, beta));
        let y = node.apply(&x, affine, residual.as_ref())?;
        let report = match (mode.tracking, mode.statistics) {
            (Tracking::Keep, _) => Report::None,
            (Tracking::Update, Statistics::Batch) => {
                saved.get().map_or(Report::None, |saved| saved.report().clone())
            }
            (Tracking::Update, Statistics::Running | Statistics::Given) => {
                Report::Batch(batch_statistics(&x, &order, batch, self.remove_mean)?)
            }
        };
        self.enter(&report, held.take())?;
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

    /// The running statistics as they are now, to normalise with: what happens to them later does not reach
    /// backward, for which forward saves what it has read.
    ///
    /// Under the lock of the count, so that mean and variance are those of the same moment; copied unless
    /// that is held until they are read.
    fn running(&self, dtype: DType, held: Option<&MutexGuard<'_, Seen>>) -> Result<Normalizer> {
        let _seen = held.is_none().then(|| self.lock_seen());
        let of = |values: &Var| match held {
            Some(_) => values.as_detached_tensor().to_dtype(dtype),
            None => now(values, dtype),
        };
        let (mean, var) = (of(&self.running_mean)?, of(&self.running_var)?);
        Ok(Normalizer::Running { mean, var, eps: self.eps })
    }

    /// The running statistics for a batch that enters them in the kernels.
    fn tracked(&self, seen: Seen) -> Tracked {
        let mean = self.running_mean.as_detached_tensor();
        let var = self.running_var.as_detached_tensor();
        Tracked { mean, var, momentum: self.momentum, seen }
    }

    /// Lets a batch enter the running statistics, in place and where they lie, and counts it.
    ///
    /// Under the lock of the count, so that batches of several threads enter one after the other.
    fn enter(&self, report: &Report, held: Option<MutexGuard<'_, Seen>>) -> Result<()> {
        if matches!(report, Report::None) {
            return Ok(());
        }
        let mut seen = held.unwrap_or_else(|| self.lock_seen());
        match report {
            Report::None => {}
            Report::Entered([mean, var]) => {
                self.running_mean.set(mean)?;
                self.running_var.set(var)?;
            }
            Report::Batch(BatchStatistics { mean, variance }) => {
                let blend = self.momentum.blend(&seen);
                let mean = self.remove_mean.then(|| blended(blend, &self.running_mean, mean));
                let mean = mean.transpose()?;
                self.running_var.set(&blended(blend, &self.running_var, variance)?)?;
                if let Some(mean) = mean {
                    self.running_mean.set(&mean)?;
                }
            }
        }
        *seen = seen.next::<f64>(&self.momentum);
        Ok(())
    }
}

/// What [`Blend::apply`] computes of each value, as tensors and in `f64`.
fn blended(blend: Blend, running: &Var, batch: &Tensor) -> Result<Tensor> {
    let Blend { keep, add, .. } = blend;
    // What has no weight cannot matter, not even a NaN.
    let kept = (keep != 0.0).then(|| now(running, DType::F64)? * keep).transpose()?;
    let added = (add != 0.0).then(|| batch.to_dtype(DType::F64)? * add).transpose()?;
    let blended = match (kept, added) {
        (Some(kept), Some(added)) => (kept + added)?,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => batch.zeros_like()?,
    };
    blended.to_dtype(running.dtype())
}

/// C values as they are now, in a type: a copy that candle takes for a constant.
fn now(values: &Var, dtype: DType) -> Result<Tensor> {
    let values = values.as_detached_tensor();
    if values.dtype() == dtype { values.copy() } else { values.to_dtype(dtype) }
}
