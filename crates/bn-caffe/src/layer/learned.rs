//! The learned blobs of Scale and Bias, and how they start.

use super::Real;
use crate::blob::{Blob, Shape};
use crate::error::{BlobProblem, Result};
use crate::proto::schema::{FillerParameter, LayerParameter};

/// One learned blob: values, and the gradient that backward adds to.
#[derive(Clone, Debug, PartialEq)]
pub struct Param<T> {
    /// The covered axes of the input; none for a scalar.
    pub shape: Vec<usize>,
    /// The values.
    pub value: Vec<T>,
    /// The gradient, of as many values.
    pub diff: Vec<T>,
}

impl<T: Real> Param<T> {
    /// A blob of one value throughout.
    #[must_use]
    pub fn constant(shape: &[usize], value: T) -> Self {
        let count = shape.iter().product();
        Self { shape: shape.to_vec(), value: vec![value; count], diff: vec![T::default(); count] }
    }

    /// A blob of a weight file; a gradient stored there is not taken over.
    #[must_use]
    pub fn from_blob(blob: &Blob) -> Self {
        let value = T::values(blob);
        Self { shape: blob.shape().dims().to_vec(), diff: vec![T::default(); value.len()], value }
    }

    /// Fills a blob as a layer's filler says; `otherwise` where it has none.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) where Caffe's filler aborts.
    pub(super) fn filled(
        layer: &LayerParameter,
        which: &str,
        filler: Option<&FillerParameter>,
        otherwise: f32,
        shape: &[usize],
    ) -> Result<Self> {
        let mut param = Self::constant(shape, T::from_f64(otherwise.into()));
        if let Some(filler) = filler {
            let values = super::filler::fill(layer, which, filler, shape)?;
            param.value = values.into_iter().map(|value| T::from_f64(value.into())).collect();
        }
        Ok(param)
    }

    /// The values as a weight file holds them.
    ///
    /// # Errors
    /// [`BlobProblem`] where `value` is not of the shape.
    pub fn to_blob(&self) -> Result<Blob, BlobProblem> {
        T::blob(Shape::new(self.shape.clone())?, &self.value)
    }
}

/// The learned blobs of a Scale or Bias layer. Several layers may use the same ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned<T> {
    /// The factor of a Scale with one bottom.
    pub factor: Option<Param<T>>,
    /// The bias of a Scale with `bias_term`, or of a Bias with one bottom.
    pub bias: Option<Param<T>>,
}

impl<T: Real> Learned<T> {
    /// The blobs in the order of the weight file.
    pub fn params(&self) -> impl Iterator<Item = &Param<T>> {
        self.factor.iter().chain(&self.bias)
    }

    /// Sets all gradients to 0, as a solver does before each iteration.
    pub fn clear_diffs(&mut self) {
        for param in self.factor.iter_mut().chain(&mut self.bias) {
            param.diff.fill(T::default());
        }
    }
}
