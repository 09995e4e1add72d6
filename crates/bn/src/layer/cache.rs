//! What forward leaves for backward, as two types: one that holds x and one that cannot.

use bn_core::{
    Backward, Dependence, Element, Gate, HostMemory, InOut, Problem, SavedTensor, ValidPositions,
};
use ndarray::{Array, Array1, ArrayView, CowArray, Dimension};

use crate::{Error, dense};

/// What forward gives: y, and what its backward needs.
pub type WithCache<'x, T, D> = (Array<T, D>, Cache<'x, T, D>);

/// What backward needs after an out-of-place forward.
///
/// Memory: x itself, borrowed where forward borrowed it and owned where forward was given it; two
/// `f64` for each channel (of each group); gamma; behind a ReLU one bit for each value; a byte for each
/// position where there was a mask. y is not kept.
///
/// It describes the forward that made it: gradients are those of the parameters of that time, even
/// after an optimiser has moved them.
#[derive(Debug)]
pub struct Cache<'x, T: Element, D: Dimension> {
    pub(super) x: CowArray<'x, T, D>,
    pub(super) trace: Trace<T>,
}

impl<T: Element, D: Dimension> Cache<'_, T, D> {
    /// The same without a borrow: x is copied where it was borrowed.
    ///
    /// # Errors
    ///
    /// [`core::Error::OutOfMemory`](crate::core::Error::OutOfMemory).
    pub fn into_owned(self) -> Result<Cache<'static, T, D>, Error> {
        let x = if self.x.is_view() { dense::copy(self.x.view())? } else { self.x.into_owned() };
        Ok(Cache { x: x.into(), trace: self.trace })
    }

    /// The x of that forward.
    #[must_use]
    pub fn x(&self) -> ArrayView<'_, T, D> {
        self.x.view()
    }

    /// The means that normalised, G·C values, group by group.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.trace.mean
    }

    /// The values of 1/sqrt(variance + eps) that normalised, G·C values, group by group.
    #[must_use]
    pub fn inv_std(&self) -> &[f64] {
        &self.trace.inv_std
    }
}

/// What backward needs after forward has overwritten x: all but x̂, which is y.
///
/// It holds no tensor, so backward asks for y. Only a layer whose y is x̂ gives one: no gamma, no beta,
/// no activation. Memory: two `f64` for each channel (of each group), and the mask.
#[derive(Debug)]
pub struct InPlaceCache<T: Element, D: Dimension> {
    pub(super) dim: D,
    pub(super) trace: Trace<T>,
}

impl<T: Element, D: Dimension> InPlaceCache<T, D> {
    /// The means that normalised, G·C values, group by group.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.trace.mean
    }

    /// The values of 1/sqrt(variance + eps) that normalised, G·C values, group by group.
    #[must_use]
    pub fn inv_std(&self) -> &[f64] {
        &self.trace.inv_std
    }
}

/// What both caches hold.
#[derive(Debug)]
pub(super) struct Trace<T: Element> {
    pub(super) problem: Problem,
    pub(super) mean: Vec<f64>,
    pub(super) inv_std: Vec<f64>,
    pub(super) dependence: Dependence,
    pub(super) mask: Option<Vec<u8>>,
    pub(super) gamma: Option<Array1<T::Param>>,
    pub(super) has_beta: bool,
    pub(super) bits: Option<Vec<u8>>,
    pub(super) has_residual: bool,
}

impl<T: Element> Trace<T> {
    /// The mask, checked again: forward has counted it, but a count does not outlive its borrow.
    pub(super) fn valid(&self) -> Result<Option<ValidPositions<'_, HostMemory>>, Error> {
        let mask = self.mask.as_deref();
        let valid = mask.map(|mask| ValidPositions::on_host(&self.problem, mask));
        Ok(valid.transpose()?)
    }

    /// The request for dx alone; where gradients of parameters go is the caller's.
    pub(super) fn backward<'a>(
        &'a self,
        io: InOut<'a, [T]>,
        saved: SavedTensor<'a, [T]>,
        valid: Option<&'a ValidPositions<'a, HostMemory>>,
    ) -> Backward<'a, T, HostMemory> {
        Backward {
            dependence: self.dependence,
            valid,
            gamma: self.gamma.as_ref().map(dense::values),
            gate: self.bits.as_deref().map_or(Gate::Open, Gate::Bits),
            ..Backward::new(self.problem, io, saved, &self.mean[..], &self.inv_std[..])
        }
    }
}
