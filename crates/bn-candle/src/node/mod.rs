//! Batch normalisation as one node of candle's graph.
//!
//! A node is made for one forward and lives as long as the graph does. What forward leaves for backward
//! (C means and factors in `f64`, a bit for each element behind a ReLU) lies in the node itself; x
//! and gamma candle hands back. So a layer may appear twice in a graph or run in several threads, and a
//! backward that never comes leaves nothing behind.

mod cpu;
mod element;
mod fresh;
mod once;
mod ops;
mod order;
mod rows;
mod uncentred;

use std::sync::{Arc, OnceLock};

use bn_core::{Dependence, RunningVariance, SingleValue};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor};

pub(crate) use element::CpuElement;
pub(crate) use order::MemoryOrder;

use once::{gradient, outlives_backward};

/// Which statistics normalise, and what forward is to report of them.
pub(crate) enum Normalizer {
    /// Those of the batch.
    Batch(Batch),
    /// The batch's mean square, with no mean taken off: what candle_nn does with `remove_mean: false`.
    BatchUncentred(Batch),
    /// Fixed ones, C values each.
    Fixed { mean: Vec<f64>, inv_std: Vec<f64> },
}

/// How the statistics of a batch are taken.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) eps: f64,
    pub(crate) single_value: SingleValue,
    /// The variance to report for the running statistics.
    pub(crate) variance: RunningVariance,
}

/// What forward leaves behind: C values each.
pub(crate) struct Saved {
    mean: Vec<f64>,
    inv_std: Vec<f64>,
    bits: Vec<u8>,
    /// The batch's variance, as [`Batch::variance`] asks for it; empty with fixed statistics.
    variance: Vec<f64>,
}

impl Saved {
    /// The mean of the batch and its variance, as the running statistics take them.
    pub(crate) fn batch_statistics(&self) -> (&[f64], &[f64]) {
        (&self.mean, &self.variance)
    }
}

/// One forward of a layer, and its backward.
pub(crate) struct Node {
    pub(crate) order: MemoryOrder,
    pub(crate) normalizer: Normalizer,
    pub(crate) relu: bool,
    /// Whether a backward can follow, so that forward records what the ReLU let through.
    pub(crate) differentiable: bool,
    pub(crate) saved: Arc<OnceLock<Saved>>,
}

/// Gamma and beta: none, one by one, or as the two rows of one argument.
#[derive(Clone, Copy)]
enum Affine<A> {
    None,
    Apart([A; 2]),
    Rows(A),
}

/// The gradients of a node's arguments; none for an argument that candle does not track.
///
/// With both parameters in one argument their gradient is the first of `daffine`.
struct Gradients {
    dx: Option<Tensor>,
    daffine: [Option<Tensor>; 2],
    dresidual: Option<Tensor>,
}

/// Runs a body with `$t` standing for the element type of `$dtype`.
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
            DType::F16 => {
                type $t = bn_core::f16;
                $body
            }
            DType::BF16 => {
                type $t = bn_core::bf16;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, Node::NAME).bt()),
        }
    };
}

impl Node {
    const NAME: &'static str = "batch-norm";

    /// Puts the node behind its arguments.
    ///
    /// x and residual lie in the node's order, gamma and beta are contiguous and of x's parameter type.
    /// The output has its axes in the order of memory.
    pub(crate) fn apply(
        self,
        x: &Tensor,
        affine: Option<(&Tensor, &Tensor)>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        match (affine, residual) {
            (None, None) => x.apply_op1(ops::Plain(self)),
            (None, Some(residual)) => x.apply_op2(residual, ops::WithResidual(self)),
            (Some((gamma, beta)), None) => x.apply_op3(gamma, beta, ops::WithAffine(self)),
            (Some((gamma, beta)), Some(residual)) => {
                let rows = gamma.apply_op2(beta, rows::Rows)?;
                x.apply_op3(&rows, residual, ops::WithAffineAndResidual(self))
            }
        }
    }

    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        affine: Affine<(&CpuStorage, &Layout)>,
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, saved) = with_element!(x.0.dtype(), T => {
            let [gamma, beta] = element::affine::<T>(affine)?;
            let residual = residual.map(element::slice::<T>).transpose()?;
            cpu::forward(self, element::slice::<T>(x)?, gamma, beta, residual)
                .map_err(candle_core::Error::wrap)
        })?;
        if self.saved.set(saved).is_err() {
            candle_core::bail!("{}: a node runs forward once", Self::NAME);
        }
        Ok((y, Shape::from(self.order.dims())))
    }

    fn backward(
        &self,
        x: &Tensor,
        affine: Affine<&Tensor>,
        residual: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("{}: backward before forward", Self::NAME)
        };
        let dy = dy.contiguous()?;
        let gamma = match affine {
            Affine::None => None,
            Affine::Apart([gamma, _]) | Affine::Rows(gamma) => Some(gamma),
        };
        let tracks_affine = match affine {
            Affine::None => false,
            Affine::Apart(both) => both.iter().any(|parameter| parameter.track_op()),
            Affine::Rows(rows) => rows.track_op(),
        };
        let wanted = cpu::Wanted {
            dx: x.track_op(),
            dresidual: residual.is_some_and(Tensor::track_op),
            daffine: tracks_affine,
        };

        let (x_storage, x_at) = x.storage_and_layout();
        let (dy_storage, dy_at) = dy.storage_and_layout();
        let gamma_and_layout = gamma.map(Tensor::storage_and_layout);
        let gamma_at = match &gamma_and_layout {
            Some((storage, at)) => Some((on_cpu(storage)?, *at)),
            None => None,
        };
        let raw = with_element!(x.dtype(), T => {
            let channels = self.order.problem().channels();
            let gamma = gamma_at.map(element::slice::<<T as bn_core::Element>::Param>).transpose()?;
            cpu::backward::<T>(
                self,
                saved,
                element::slice((on_cpu(&x_storage)?, x_at))?,
                element::slice((on_cpu(&dy_storage)?, dy_at))?,
                gamma.map(|gamma| &gamma[..channels]),
                wanted,
            )
            .map_err(candle_core::Error::wrap)
        })?;
        self.gradients(raw, x, affine, residual)
    }

    /// The kernels' results as tensors.
    fn gradients(
        &self,
        raw: cpu::RawGradients,
        x: &Tensor,
        affine: Affine<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Result<Gradients> {
        let in_order = |values, of: &Tensor| {
            self.order.to_logical(&gradient(values, self.order.dims(), outlives_backward(of))?)
        };
        let dx = raw.dx.map(|dx| in_order(dx, x)).transpose()?;
        let dresidual = match (raw.dresidual, residual) {
            (Some(dresidual), Some(residual)) => Some(in_order(dresidual, residual)?),
            _ => None,
        };
        let channels = self.order.problem().channels();
        let daffine = match (raw.daffine, affine) {
            (Some([dgamma, dbeta]), Affine::Apart([gamma, beta])) => {
                let parameter = |values, of: &Tensor| {
                    let wanted = of.track_op();
                    wanted.then(|| gradient(values, &[channels], outlives_backward(of))).transpose()
                };
                [parameter(dgamma, gamma)?, parameter(dbeta, beta)?]
            }
            (Some([dgamma, dbeta]), Affine::Rows(rows)) => {
                let parameter = |values| gradient(values, &[channels], outlives_backward(rows));
                [Some(Tensor::stack(&[parameter(dgamma)?, parameter(dbeta)?], 0)?), None]
            }
            _ => [None, None],
        };
        Ok(Gradients { dx, daffine, dresidual })
    }

    /// Whether the statistics that normalise were a function of x.
    const fn dependence(&self) -> Dependence {
        match self.normalizer {
            Normalizer::Batch(_) | Normalizer::BatchUncentred(_) => Dependence::Batch,
            Normalizer::Fixed { .. } => Dependence::Fixed,
        }
    }
}

/// The statistics of a batch that it was not normalised with.
pub(crate) fn batch_statistics(
    x: &Tensor,
    order: &MemoryOrder,
    batch: Batch,
    centred: bool,
) -> Result<Saved> {
    let (storage, at) = x.storage_and_layout();
    let moments = with_element!(x.dtype(), T => {
        let x = element::slice::<T>((on_cpu(&storage)?, at))?;
        cpu::moments(*order.problem(), batch, x, centred).map_err(candle_core::Error::wrap)
    })?;
    Ok(Saved {
        mean: moments.iter().map(|moments| moments.mean).collect(),
        inv_std: moments.iter().map(|moments| moments.inv_std(batch.eps)).collect(),
        bits: Vec::new(),
        variance: moments.iter().map(|moments| batch.variance.of(moments)).collect(),
    })
}

/// The storage of a tensor that the layer has found to be on the CPU.
fn on_cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        Storage::Cuda(_) | Storage::Metal(_) => {
            candle_core::bail!("{}: all tensors must be on the device of x", Node::NAME)
        }
    }
}
