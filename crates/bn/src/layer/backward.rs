//! Backward: from dy to dx and the gradients of the parameters.

use bn_core::{
    Backward, BatchNormBackend, Element, Feature, HostMemory, InOut, Request, SavedTensor,
};
use ndarray::{Array, Array1, CowArray, Dimension, Ix1};

use super::cache::Trace;
use super::{BatchNorm, Cache, InPlaceCache};
use crate::{Error, dense};

/// What backward gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T: Element, D: Dimension> {
    /// The gradient of x.
    pub dx: Array<T, D>,
    /// The gradient of gamma; `None` where the layer has none.
    pub dgamma: Option<Array1<T::Param>>,
    /// The gradient of beta; `None` where the layer has none.
    pub dbeta: Option<Array1<T::Param>>,
    /// The gradient of the residual; `None` where nothing was added.
    pub dresidual: Option<Array<T, D>>,
}

impl<T, B> BatchNorm<T, B>
where
    T: Element,
    B: BatchNormBackend<T, Memory = HostMemory> + ?Sized,
{
    /// Gives the gradients of the forward that made `cache`.
    ///
    /// A borrowed dy stays as it is; an owned one in standard layout becomes dx, without another
    /// tensor. A dy in another memory order is copied once.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where dy is not shaped like x, and what the backend refuses.
    pub fn backward<'d, D: Dimension>(
        &self,
        dy: impl Into<CowArray<'d, T, D>>,
        cache: &Cache<'_, T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        self.gradients(
            dy.into(),
            SavedTensor::Input(dense::values(&cache.x)),
            cache.x.raw_dim(),
            &cache.trace,
        )
    }

    /// Gives the gradients of the in-place forward that made `cache`; `x_hat` is the y it left where x
    /// had been.
    ///
    /// Only the shape of `x_hat` can be checked: a y that something has written to since gives wrong
    /// gradients. dy is treated as in [`BatchNorm::backward`], `x_hat` in another memory order is
    /// copied once.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where dy or x̂ is not shaped like x, and what the backend refuses.
    pub fn backward_in_place<'d, 'y, D: Dimension>(
        &self,
        dy: impl Into<CowArray<'d, T, D>>,
        x_hat: impl Into<CowArray<'y, T, D>>,
        cache: &InPlaceCache<T, D>,
    ) -> Result<Gradients<T, D>, Error> {
        let x_hat = x_hat.into();
        if x_hat.raw_dim() != cache.dim {
            return Err(Error::shape("x̂", x_hat.shape(), &dims(&cache.dim)));
        }
        let x_hat = dense::standard(x_hat)?;
        let saved = SavedTensor::Normalized(dense::values(&x_hat));
        self.gradients(dy.into(), saved, cache.dim.clone(), &cache.trace)
    }

    fn gradients<D: Dimension>(
        &self,
        dy: CowArray<'_, T, D>,
        saved: SavedTensor<'_, [T]>,
        dim: D,
        trace: &Trace<T>,
    ) -> Result<Gradients<T, D>, Error> {
        if dy.raw_dim() != dim {
            return Err(Error::shape("dy", dy.shape(), &dims(&dim)));
        }
        let channels = Ix1(trace.problem.channels());
        let has = |wanted: bool| wanted.then(|| dense::zeros::<T::Param, _>(channels)).transpose();
        let (mut dgamma, mut dbeta) = (has(trace.gamma.is_some())?, has(trace.has_beta)?);
        let dresidual = trace.has_residual.then(|| dense::zeros::<T, _>(dim.clone()));
        let mut dresidual = dresidual.transpose()?;
        let valid = trace.valid()?;
        let mut run = |io: InOut<'_, [T]>| {
            let request = Backward {
                dgamma: dgamma.as_mut().map(dense::values_mut),
                dbeta: dbeta.as_mut().map(dense::values_mut),
                dresidual: dresidual.as_mut().map(dense::values_mut),
                ..trace.backward(io, saved, valid.as_ref())
            };
            self.backend.backward(request.check()?)
        };

        let dy = dense::standard(dy)?;
        let dx = if dy.is_view() || !self.backend.capabilities().supports(Feature::InPlace) {
            let mut dx = dense::zeros(dim)?;
            run(InOut::new(dense::values(&dy), dense::values_mut(&mut dx)))?;
            dx
        } else {
            let mut dx = dy.into_owned();
            run(InOut::InPlace(dense::values_mut(&mut dx)))?;
            dx
        };
        Ok(Gradients { dx, dgamma, dbeta, dresidual })
    }
}

fn dims<D: Dimension>(dim: &D) -> Vec<usize> {
    dim.as_array_view().to_vec()
}
