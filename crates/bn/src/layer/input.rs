//! What forward takes: x, and what some layers and some data need beside it.

use bn_core::Element;
use ndarray::{Array, ArrayBase, ArrayView, CowArray, Data, Dimension};

use crate::{Error, dense};

/// x, and beside it a residual and a mask where they are needed.
///
/// An array or a view is an input as it is; `Input::new(&x).residual(&r)` says more.
pub struct Input<'x, 'r, T: Element, D: Dimension> {
    pub(super) x: CowArray<'x, T, D>,
    pub(super) residual: Option<CowArray<'r, T, D>>,
    pub(super) mask: Option<Mask>,
}

impl<'x, 'r, T: Element, D: Dimension> Input<'x, 'r, T, D> {
    /// x alone: `&array` and views are borrowed, an array is taken.
    pub fn new(x: impl Into<CowArray<'x, T, D>>) -> Self {
        Self { x: x.into(), residual: None, mask: None }
    }

    /// Adds the other branch of a residual block, shaped like x.
    #[must_use]
    pub fn residual<'s>(self, residual: impl Into<CowArray<'s, T, D>>) -> Input<'x, 's, T, D> {
        Input { x: self.x, residual: Some(residual.into()), mask: self.mask }
    }

    /// Adds which positions are valid: one value for each, shaped like x without its channel axis.
    ///
    /// What is not valid is left out of the batch statistics and normalised like the rest; fixed
    /// statistics do not look at the mask. One byte is copied for each position.
    #[must_use]
    pub fn mask<S: Data<Elem = bool>, E: Dimension>(mut self, mask: &ArrayBase<S, E>) -> Self {
        // A broadcast view may claim any number of positions. More than x has values cannot fit it, and
        // are not copied only to be refused.
        let fits = mask.len() <= self.x.len();
        let bytes = dense::zeroed(if fits { mask.len() } else { 0 }).map(|mut bytes: Vec<u8>| {
            bytes.iter_mut().zip(mask).for_each(|(byte, &valid)| *byte = u8::from(valid));
            bytes
        });
        self.mask = Some(Mask { dims: mask.shape().into(), bytes });
        self
    }
}

/// A mask as it was given: not yet compared with x.
pub(super) struct Mask {
    dims: Box<[usize]>,
    /// Its copy, or that there was no memory for it.
    bytes: Result<Vec<u8>, bn_core::Error>,
}

impl Mask {
    /// The bytes, position by position, where the mask fits x.
    pub(super) fn for_dims(self, x: &[usize], channel_axis: usize) -> Result<Vec<u8>, Error> {
        let positions = x.iter().enumerate().filter(|&(axis, _)| axis != channel_axis);
        let positions: Vec<usize> = positions.map(|(_, &dim)| dim).collect();
        if *self.dims != *positions {
            return Err(Error::shape("mask", &self.dims, &positions));
        }
        Ok(self.bytes?)
    }
}

impl<'x, T: Element, D: Dimension, S: Data<Elem = T>> From<&'x ArrayBase<S, D>>
    for Input<'x, '_, T, D>
{
    fn from(x: &'x ArrayBase<S, D>) -> Self {
        Self::new(x)
    }
}

impl<'x, T: Element, D: Dimension> From<ArrayView<'x, T, D>> for Input<'x, '_, T, D> {
    fn from(x: ArrayView<'x, T, D>) -> Self {
        Self::new(x)
    }
}

impl<'x, T: Element, D: Dimension> From<Array<T, D>> for Input<'x, '_, T, D> {
    fn from(x: Array<T, D>) -> Self {
        Self::new(x)
    }
}

impl<'x, T: Element, D: Dimension> From<CowArray<'x, T, D>> for Input<'x, '_, T, D> {
    fn from(x: CowArray<'x, T, D>) -> Self {
        Self::new(x)
    }
}
