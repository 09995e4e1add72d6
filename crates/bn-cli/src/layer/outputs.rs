//! What a pass gives.

use bn_core::{Element, Error, HostMemory, Memory};

use super::{Inputs, Settings};
use crate::tensor::{Stored, View};

/// The results of a pass; those that the inputs and settings ask for.
#[derive(Debug)]
pub(crate) struct Outputs<T: Element> {
    pub(super) dims: Vec<usize>,
    pub(super) y: Vec<T>,
    pub(super) dx: Option<Vec<T>>,
    pub(super) dgamma: Option<Vec<T::Param>>,
    pub(super) dbeta: Option<Vec<T::Param>>,
    pub(super) dresidual: Option<Vec<T>>,
    /// Running mean and variance, where the pass updates them.
    pub(super) running: Option<[Vec<T::Param>; 2]>,
    pub(super) mean: Vec<f64>,
    pub(super) inv_std: Vec<f64>,
    /// Whether mean and inv_std are the batch's own.
    pub(super) batch_statistics: bool,
}

/// One result, by name.
#[derive(Clone, Debug)]
pub(crate) struct Output<'a> {
    /// As files and tables call it.
    pub(crate) name: &'static str,
    /// Its dimensions.
    pub(crate) dims: Vec<usize>,
    /// Its values.
    pub(crate) values: View<'a>,
}

impl<T: Stored> Outputs<T> {
    /// Room for the results, taken before anything is computed.
    pub(super) fn new(inputs: &Inputs<T>, settings: &Settings) -> Result<Self, Error> {
        let (elements, channels) = (inputs.problem.elements(), inputs.problem.channels());
        let backward = inputs.dy.is_some();
        let add = inputs.residual.is_some();
        Ok(Self {
            dims: inputs.dims.clone(),
            y: HostMemory.alloc(elements)?,
            dx: alloc_if(backward, elements)?,
            dgamma: alloc_if(backward, channels)?,
            dbeta: alloc_if(backward, channels)?,
            dresidual: alloc_if(backward && add, elements)?,
            running: inputs.running.clone().filter(|_| settings.trains()),
            mean: HostMemory.alloc(channels)?,
            inv_std: HostMemory.alloc(channels)?,
            batch_statistics: settings.trains(),
        })
    }

    /// Every result, in the order in which they are shown and written.
    pub(crate) fn list(&self) -> Vec<Output<'_>> {
        let tensor = |name, values| Output { name, dims: self.dims.clone(), values };
        let channels = |name, values| Output { name, dims: vec![self.mean.len()], values };
        let running = self.running.as_ref();
        let [mean, inv_std] =
            [("save_mean", &self.mean), ("save_inv_std", &self.inv_std)].map(|(name, values)| {
                self.batch_statistics.then(|| channels(name, Stored::view(values)))
            });
        [
            Some(tensor("y", T::view(&self.y))),
            self.dx.as_deref().map(|values| tensor("dx", T::view(values))),
            self.dresidual.as_deref().map(|values| tensor("dresidual", T::view(values))),
            self.dgamma.as_deref().map(|values| channels("dgamma", T::param_view(values))),
            self.dbeta.as_deref().map(|values| channels("dbeta", T::param_view(values))),
            running.map(|[mean, _]| channels("running_mean", T::param_view(mean))),
            running.map(|[_, var]| channels("running_var", T::param_view(var))),
            mean,
            inv_std,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The results' names, known before they are computed.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.list().iter().map(|output| output.name).collect()
    }
}

fn alloc_if<E: Element>(wanted: bool, len: usize) -> Result<Option<Vec<E>>, Error> {
    wanted.then(|| HostMemory.alloc(len)).transpose()
}
