//! Batch normalisation as one node of candle's graph.
//!
//! A node is made for one forward and lives as long as the graph does. What forward leaves for backward
//! (C means and factors in `f64`, a bit for each element behind a ReLU) lies in the node itself; x
//! and gamma candle hands back. So a layer may appear twice in a graph or run in several threads, and a
//! backward that never comes leaves nothing behind.

mod kernels;
mod moments;
mod once;
mod ops;
mod order;
mod rows;
mod site;
mod uncentred;
mod value;

use std::sync::{Arc, OnceLock};

use bn_core::{Dependence, Gate, Momentum, RunningVariance, Seen, SingleValue};
use candle_core::{DType, Device, DeviceLocation, Result, Shape, Storage, Tensor};

pub(crate) use order::MemoryOrder;
pub(crate) use site::check_device;

use once::{gradient, outlives_backward};
#[cfg(feature = "cuda")]
use site::Cuda;
use site::{Argument, Cpu, Held, Site, with_site};
use value::CandleElement;

const NAME: &str = "batch-norm";

/// Which statistics normalise, and what forward is to report of them.
pub(crate) enum Normalizer {
    /// Those of the batch, and the running statistics that it enters in the same pass, if any.
    Batch(Batch, Option<Tracked>),
    /// The batch's mean square, with no mean taken off: what candle_nn does with `remove_mean: false`.
    BatchUncentred(Batch),
    /// Running ones, C values each in the parameter type of x.
    Running { mean: Tensor, var: Tensor, eps: f64 },
}

/// Running statistics as they are before a batch, in the parameter type of x, and how it enters.
pub(crate) struct Tracked {
    pub(crate) mean: Tensor,
    pub(crate) var: Tensor,
    pub(crate) momentum: Momentum,
    pub(crate) seen: Seen,
}

/// How the statistics of a batch are taken.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) eps: f64,
    pub(crate) single_value: SingleValue,
    /// The variance to report for the running statistics.
    pub(crate) variance: RunningVariance,
}

/// What forward leaves behind, on the device of x: C values each, and the bits.
pub(crate) struct Saved {
    mean: Tensor,
    inv_std: Tensor,
    bits: Option<Tensor>,
    report: Report,
}

/// What forward says of the batch.
#[derive(Clone)]
pub(crate) enum Report {
    /// Nothing: it was normalised with other statistics.
    None,
    /// Its mean and its variance, as [`Batch::variance`] asks for it.
    Batch(BatchStatistics),
    /// The running mean and variance that it has entered.
    Entered([Tensor; 2]),
}

/// The mean of a batch and its variance, as the running statistics take them.
#[derive(Clone)]
pub(crate) struct BatchStatistics {
    pub(crate) mean: Tensor,
    pub(crate) variance: Tensor,
}

impl Saved {
    pub(crate) const fn report(&self) -> &Report {
        &self.report
    }
}

/// One forward of a layer, and its backward.
pub(crate) struct Node {
    /// Where x is.
    pub(crate) device: Device,
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

impl<'a> Affine<Argument<'a>> {
    /// Gamma and beta, C values each.
    fn arguments(self) -> [Option<Argument<'a>>; 2] {
        match self {
            Self::None => [None, None],
            Self::Apart(both) => both.map(Some),
            Self::Rows(rows) => rows.halves().map(Some),
        }
    }
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
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, NAME).bt()),
        }
    };
}

impl Node {
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
        x: Argument<'_>,
        affine: Affine<Argument<'_>>,
        residual: Option<Argument<'_>>,
    ) -> Result<(Storage, Shape)> {
        let (y, saved) = with_site!(&self.device, site => with_element!(x.dtype(), T => {
            self.forward_at::<_, T>(site, x, affine.arguments(), residual)
        }))?;
        if let Some(saved) = saved
            && self.saved.set(saved).is_err()
        {
            candle_core::bail!("{NAME}: a node runs forward once");
        }
        Ok((y, Shape::from(self.order.dims())))
    }

    fn forward_at<S: Site, T: CandleElement>(
        &self,
        site: &S,
        x: Argument<'_>,
        affine: [Option<Argument<'_>>; 2],
        residual: Option<Argument<'_>>,
    ) -> Result<(Storage, Option<Saved>)> {
        let [gamma, beta] = affine.map(|one| one.map(|one| site.read(one)).transpose());
        let (gamma, beta) = (gamma?, beta?);
        let residual = residual.map(|residual| site.read(residual)).transpose()?;
        let affine = [gamma.as_deref(), beta.as_deref()];
        kernels::forward::<S, T>(site, self, &*site.read(x)?, affine, residual.as_deref())
    }

    fn backward(
        &self,
        x: &Tensor,
        affine: Affine<&Tensor>,
        residual: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("{NAME}: backward before forward")
        };
        let dy = dy.contiguous()?;
        let tracks_affine = match affine {
            Affine::None => false,
            Affine::Apart(both) => both.iter().any(|parameter| parameter.track_op()),
            Affine::Rows(rows) => rows.track_op(),
        };
        let wanted = kernels::Wanted {
            dx: x.track_op(),
            dresidual: residual.is_some_and(Tensor::track_op),
            daffine: tracks_affine,
        };

        let gamma = match affine {
            Affine::None => None,
            Affine::Apart([gamma, _]) => Some(gamma.clone()),
            Affine::Rows(rows) => Some(rows.get(0)?),
        };
        let gamma = gamma.as_ref();
        let raw = with_site!(&self.device, site => with_element!(x.dtype(), T => {
            self.backward_at::<_, T>(site, saved, [x, &dy], gamma, wanted)
        }))?;
        self.gradients(raw, x, affine, residual)
    }

    fn backward_at<S: Site, T: CandleElement>(
        &self,
        site: &S,
        saved: &Saved,
        [x, dy]: [&Tensor; 2],
        gamma: Option<&Tensor>,
        wanted: kernels::Wanted,
    ) -> Result<kernels::RawGradients> {
        let [x, dy] = [x, dy].map(Held::new);
        let [mean, inv_std] = [&saved.mean, &saved.inv_std].map(Held::new);
        let [gamma, bits] = [gamma, saved.bits.as_ref()].map(|tensor| tensor.map(Held::new));
        let gamma = gamma.as_ref().map(|gamma| gamma.read(site)).transpose()?;
        let bits = bits.as_ref().map(|bits| bits.read(site)).transpose()?;
        let passed = kernels::Passed {
            x: &*x.read(site)?,
            dy: &*dy.read(site)?,
            gate: bits.as_deref().map_or(Gate::Open, Gate::Bits),
            gamma: gamma.as_deref(),
            mean: &*mean.read(site)?,
            inv_std: &*inv_std.read(site)?,
        };
        kernels::backward::<S, T>(site, self, passed, wanted)
    }

    /// The kernels' results as tensors.
    fn gradients(
        &self,
        raw: kernels::RawGradients,
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
            Normalizer::Batch(..) | Normalizer::BatchUncentred(_) => Dependence::Batch,
            Normalizer::Running { .. } => Dependence::Fixed,
        }
    }
}

/// The statistics of a batch that it was not normalised with.
pub(crate) fn batch_statistics(
    x: &Tensor,
    order: &MemoryOrder,
    batch: Batch,
    centred: bool,
) -> Result<BatchStatistics> {
    let problem = *order.problem();
    let moments = with_site!(x.device(), site => with_element!(x.dtype(), T => {
        kernels::moments_of::<_, T>(site, problem, batch, x)
    }))?;
    let moments = if centred { moments } else { moments.about_zero()? };
    let variance = moments.variance(batch.variance)?;
    Ok(BatchStatistics { mean: moments.mean, variance })
}

/// Why the layer does not compute on a device.
pub(crate) fn no_kernels(location: DeviceLocation) -> bn_core::Error {
    let reason = match location {
        DeviceLocation::Cuda { gpu_id } => format!(
            "x is on CUDA device {gpu_id}, and bn-cuda's kernels are not in this build; expected \
             the CPU, or bn-candle's feature `cuda`. CandleBackend computes there with candle's own operations"
        ),
        other => format!(
            "x is on {other:?}, for which the layer has no kernels; expected the CPU. CandleBackend \
             computes there with candle's own operations"
        ),
    };
    bn_core::Error::Unavailable { backend: "batch-norm layer", reason }
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
