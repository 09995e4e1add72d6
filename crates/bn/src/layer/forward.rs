//! Forward: training, frozen and evaluation; in place and out of place.

use bn_core::{
    BatchNormBackend, Dependence, Element, Epilogue, Feature, FixedStatistics, ForwardInference,
    ForwardTraining, HostMemory, InOut, Mode, Problem, Request, RunningMut, SavedStatistics,
    Statistics, Tracking, ValidPositions,
};
use ndarray::{Array, ArrayView, ArrayViewMut, CowArray, Dimension};

use super::cache::Trace;
use super::{Activation, BatchNorm, Cache, InPlaceCache, Input, WithCache};
use crate::{Error, dense};

/// An input that was compared with the layer.
struct Admitted<'x, 'r, T: Element, D: Dimension> {
    problem: Problem,
    x: CowArray<'x, T, D>,
    beside: Beside<'r, T, D>,
}

/// The operands of a forward beside x, checked against its shape.
struct Beside<'r, T: Element, D: Dimension> {
    residual: Option<CowArray<'r, T, D>>,
    mask: Option<Vec<u8>>,
}

impl<T, B> BatchNorm<T, B>
where
    T: Element,
    B: BatchNormBackend<T, Memory = HostMemory> + ?Sized,
{
    /// Normalises x and keeps what backward needs.
    ///
    /// x is an array, a view or an [`Input`] with a residual or a mask. A borrowed x stays borrowed by
    /// the cache, an owned one moves into it.
    ///
    /// # Errors
    ///
    /// [`Error::Channels`], [`Error::Shape`], [`Error::MissingResidual`],
    /// [`Error::UnexpectedResidual`], [`Error::NoRunningStatistics`], [`Error::GivenStatistics`]; of
    /// [`core`](crate::core::Error) those of shapes, groups, masks and single values; and what the
    /// backend refuses.
    pub fn forward<'x, 'r, D: Dimension>(
        &mut self,
        input: impl Into<Input<'x, 'r, T, D>>,
        mode: Mode,
    ) -> Result<WithCache<'x, T, D>, Error> {
        let Admitted { problem, x, beside } = self.admit(input.into())?;
        let x = dense::standard(x)?;
        let mut y = dense::zeros(x.raw_dim())?;
        let io = InOut::new(dense::values(&x), dense::values_mut(&mut y));
        let trace = self.run(problem, io, beside, mode)?;
        Ok((y, Cache { x, trace }))
    }

    /// Normalises x where it lies and keeps what backward needs beside y.
    ///
    /// x is gone afterwards, so this is for layers whose y is x̂: no gamma, no beta, no activation. A
    /// view in another memory order is copied and written back.
    ///
    /// # Errors
    ///
    /// [`Error::InPlace`] where y would not be x̂, and those of [`BatchNorm::forward`].
    pub fn forward_in_place<D: Dimension>(
        &mut self,
        mut x: ArrayViewMut<'_, T, D>,
        mode: Mode,
    ) -> Result<InPlaceCache<T, D>, Error> {
        let affine = self.gamma.is_some() || self.beta.is_some();
        if affine || self.settings.activation != Activation::None {
            return Err(Error::InPlace);
        }
        let problem = self.problem(x.shape())?;
        let (dim, beside) = (x.raw_dim(), Beside { residual: None, mask: None });
        let trace = over(&mut x, |io| self.run::<D>(problem, io, beside, mode))?;
        Ok(InPlaceCache { dim, trace })
    }

    /// Normalises x with the running statistics and keeps nothing.
    ///
    /// An owned x in standard layout becomes y, without another tensor. A mask is not looked at: fixed
    /// statistics normalise valid and other positions alike.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::forward`].
    pub fn infer<'x, 'r, D: Dimension>(
        &self,
        input: impl Into<Input<'x, 'r, T, D>>,
    ) -> Result<Array<T, D>, Error> {
        let Admitted { problem, x, beside } = self.admit(input.into())?;
        let residual = beside.residual.as_ref().map(dense::values);
        let x = dense::standard(x)?;
        if x.is_view() || !self.backend.capabilities().supports(Feature::InPlace) {
            let mut y = dense::zeros(x.raw_dim())?;
            let io = InOut::new(dense::values(&x), dense::values_mut(&mut y));
            self.normalize(problem, io, residual, None, None)?;
            return Ok(y);
        }
        let mut y = x.into_owned();
        self.normalize(problem, InOut::InPlace(dense::values_mut(&mut y)), residual, None, None)?;
        Ok(y)
    }

    /// Normalises x where it lies with the running statistics; `residual` is for layers of
    /// [`Activation::AddRelu`]. A view in another memory order is copied and written back.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::forward`].
    pub fn infer_in_place<D: Dimension>(
        &self,
        mut x: ArrayViewMut<'_, T, D>,
        residual: Option<ArrayView<'_, T, D>>,
    ) -> Result<(), Error> {
        let problem = self.problem(x.shape())?;
        let residual = self.admit_residual(x.shape(), residual.map(Into::into))?;
        let residual = residual.as_ref().map(dense::values);
        over(&mut x, |io| self.normalize(problem, io, residual, None, None))
    }

    /// Compares an input with the layer.
    fn admit<'x, 'r, D: Dimension>(
        &self,
        Input { x, residual, mask }: Input<'x, 'r, T, D>,
    ) -> Result<Admitted<'x, 'r, T, D>, Error> {
        let problem = self.problem(x.shape())?;
        let residual = self.admit_residual(x.shape(), residual)?;
        let axis = self.channel_axis(x.ndim());
        let mask = mask.map(|mask| mask.for_dims(x.shape(), axis)).transpose()?;
        Ok(Admitted { problem, x, beside: Beside { residual, mask } })
    }

    fn admit_residual<'r, D: Dimension>(
        &self,
        dims: &[usize],
        residual: Option<CowArray<'r, T, D>>,
    ) -> Result<Option<CowArray<'r, T, D>>, Error> {
        match (self.settings.activation, residual) {
            (Activation::AddRelu, None) => Err(Error::MissingResidual),
            (Activation::AddRelu, Some(residual)) if residual.shape() != dims => {
                Err(Error::shape("residual", residual.shape(), dims))
            }
            (Activation::AddRelu, Some(residual)) => Ok(Some(dense::standard(residual)?)),
            (Activation::None | Activation::Relu, Some(_)) => Err(Error::UnexpectedResidual),
            (Activation::None | Activation::Relu, None) => Ok(None),
        }
    }

    /// Any forward that backward may follow. Running statistics change last, when nothing can fail.
    fn run<D: Dimension>(
        &mut self,
        problem: Problem,
        io: InOut<'_, [T]>,
        beside: Beside<'_, T, D>,
        mode: Mode,
    ) -> Result<Trace<T>, Error> {
        let dependence = Dependence::from(mode.statistics);
        let problem = match dependence {
            Dependence::Batch => problem.with_groups(self.settings.groups)?,
            Dependence::Fixed => problem,
        };
        let Beside { residual, mask } = beside;
        let bits = match self.settings.activation {
            Activation::None => None,
            Activation::Relu | Activation::AddRelu => Some(dense::zeroed(problem.bits_len())?),
        };
        let mut trace = Trace {
            problem,
            mean: dense::zeroed(problem.statistics())?,
            inv_std: dense::zeroed(problem.statistics())?,
            dependence,
            mask,
            gamma: self.gamma.clone(),
            has_beta: self.beta.is_some(),
            bits,
            has_residual: residual.is_some(),
        };
        let residual = residual.as_ref().map(dense::values);
        match mode.statistics {
            Statistics::Batch => self.train(io, residual, &mut trace, mode.tracking)?,
            Statistics::Running => {
                let updated = match mode.tracking {
                    Tracking::Keep => None,
                    // Before the normalisation, which may overwrite x.
                    Tracking::Update => {
                        let running = self.require_running("update")?.clone();
                        let valid = trace.valid()?;
                        let batch = self.moments_of(problem, io.input(), valid.as_ref())?;
                        Some(self.absorbed(running, &batch, self.settings.momentum)?)
                    }
                };
                let saved =
                    SavedStatistics { mean: &mut trace.mean[..], inv_std: &mut trace.inv_std[..] };
                self.normalize(problem, io, residual, trace.bits.as_deref_mut(), Some(saved))?;
                // Fixed statistics do not look at the mask, and backward need not.
                trace.mask = None;
                if updated.is_some() {
                    self.running = updated;
                }
            }
            Statistics::Given => return Err(Error::GivenStatistics),
        }
        Ok(trace)
    }

    fn train(
        &mut self,
        io: InOut<'_, [T]>,
        residual: Option<&[T]>,
        trace: &mut Trace<T>,
        tracking: Tracking,
    ) -> Result<(), Error> {
        // A copy enters the operation and takes the place of the original when all has succeeded: a
        // device may fail between two writes. It is 2·C values.
        let mut running = match tracking {
            Tracking::Keep => None,
            Tracking::Update => Some(self.require_running("update")?.clone()),
        };
        let mask = trace.mask.as_deref();
        let valid = mask.map(|mask| ValidPositions::on_host(&trace.problem, mask)).transpose()?;
        let saved = SavedStatistics { mean: &mut trace.mean[..], inv_std: &mut trace.inv_std[..] };
        let request = ForwardTraining {
            valid: valid.as_ref(),
            gamma: self.gamma.as_ref().map(dense::values),
            beta: self.beta.as_ref().map(dense::values),
            eps: self.settings.eps,
            epilogue: self.epilogue(residual, trace.bits.as_deref_mut()),
            running: running.as_mut().map(|running| RunningMut {
                mean: dense::values_mut(&mut running.mean),
                var: dense::values_mut(&mut running.var),
                seen: &mut running.seen,
                momentum: self.settings.momentum,
                variance: self.settings.variance,
            }),
            single_value: self.settings.single_value,
            ..ForwardTraining::new(trace.problem, io, saved)
        };
        self.backend.forward_training(request.check()?)?;
        if running.is_some() {
            self.running = running;
        }
        Ok(())
    }

    fn normalize(
        &self,
        problem: Problem,
        io: InOut<'_, [T]>,
        residual: Option<&[T]>,
        bits: Option<&mut [u8]>,
        saved: Option<SavedStatistics<'_, HostMemory>>,
    ) -> Result<(), Error> {
        let running = self.require_running("normalise with")?;
        let statistics = FixedStatistics::running(
            dense::values(&running.mean),
            dense::values(&running.var),
            (&running.seen, &self.settings.momentum),
            self.settings.eps,
        );
        let request = ForwardInference {
            gamma: self.gamma.as_ref().map(dense::values),
            beta: self.beta.as_ref().map(dense::values),
            epilogue: self.epilogue(residual, bits),
            saved,
            ..ForwardInference::new(problem, io, statistics)
        };
        Ok(self.backend.forward_inference(request.check()?)?)
    }

    fn epilogue<'a>(
        &self,
        residual: Option<&'a [T]>,
        bits: Option<&'a mut [u8]>,
    ) -> Epilogue<'a, T, HostMemory> {
        match (self.settings.activation, residual) {
            (Activation::None, _) => Epilogue::None,
            (Activation::AddRelu, Some(residual)) => Epilogue::AddRelu { residual, bits },
            (Activation::Relu | Activation::AddRelu, _) => Epilogue::Relu { bits },
        }
    }
}

/// Runs an in-place operation on a view, by way of a copy where its memory order is another.
fn over<T: Element, D: Dimension, R>(
    x: &mut ArrayViewMut<'_, T, D>,
    operation: impl FnOnce(InOut<'_, [T]>) -> Result<R, Error>,
) -> Result<R, Error> {
    if x.is_standard_layout() {
        return operation(InOut::InPlace(dense::values_mut(x)));
    }
    let mut copy = dense::copy(x.view())?;
    let result = operation(InOut::InPlace(dense::values_mut(&mut copy)))?;
    x.assign(&copy);
    Ok(result)
}
