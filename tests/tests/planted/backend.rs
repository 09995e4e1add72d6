//! A backend that is right but for one planted error.

use bn_core::{
    Backend, Backward, BackwardApply, BackwardReduce, BatchNormBackend, Capabilities, Checked,
    Device, Element, Error, ForwardInference, ForwardTraining, HostMemory, Moments, Normalize,
    Request as _,
};
use bn_naive::NaiveBackend;

/// An error, as what it puts in place of an operation. Whatever it leaves alone is right.
///
/// The fused operations are the trait's own compositions of the four, so that an error in one of
/// these shows in all that follows from it.
pub(crate) trait Wrong: Send + Sync + Sized + 'static {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn moments<T: Element>(&self, request: Moments<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.moments(request.check()?)
    }

    fn normalize<T: Element>(&self, request: Normalize<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.normalize(request.check()?)
    }

    fn reduce<T: Element>(&self, request: BackwardReduce<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.backward_reduce(request.check()?)
    }

    fn apply<T: Element>(&self, request: BackwardApply<'_, T, HostMemory>) -> Result<(), Error> {
        NaiveBackend.backward_apply(request.check()?)
    }

    /// Changes a request for training, before the operations that it is composed of.
    fn training<T: Element>(&self, _request: &mut ForwardTraining<'_, T, HostMemory>) {}

    /// Changes a request for inference.
    fn inference<T: Element>(&self, _request: &mut ForwardInference<'_, T, HostMemory>) {}

    /// Changes a request for backward.
    fn backward<T: Element>(&self, _request: &mut Backward<'_, T, HostMemory>) {}
}

/// No error at all.
pub(crate) struct Nothing;

impl Wrong for Nothing {}

/// A backend with an error in it.
pub(crate) struct Planted<W>(pub W);

impl<W: Wrong> Backend for Planted<W> {
    type Memory = HostMemory;

    fn name(&self) -> &'static str {
        "planted"
    }

    fn device(&self) -> Device {
        NaiveBackend.device()
    }

    fn memory(&self) -> &HostMemory {
        &HostMemory
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

/// The four operations in which an error can sit, on a backend whose compositions are the trait's own.
struct Composed<'a, W>(&'a W);

impl<W: Wrong> Backend for Composed<'_, W> {
    type Memory = HostMemory;

    fn name(&self) -> &'static str {
        "planted"
    }

    fn device(&self) -> Device {
        NaiveBackend.device()
    }

    fn memory(&self) -> &HostMemory {
        &HostMemory
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

impl<T: Element, W: Wrong> BatchNormBackend<T> for Composed<'_, W> {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), Error> {
        self.0.moments(request.admit(self)?)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), Error> {
        self.0.normalize(request.admit(self)?)
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        self.0.reduce(request.admit(self)?)
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        self.0.apply(request.admit(self)?)
    }
}

impl<T: Element, W: Wrong> BatchNormBackend<T> for Planted<W> {
    fn moments(&self, request: Checked<Moments<'_, T, HostMemory>>) -> Result<(), Error> {
        Composed(&self.0).moments(request)
    }

    fn normalize(&self, request: Checked<Normalize<'_, T, HostMemory>>) -> Result<(), Error> {
        Composed(&self.0).normalize(request)
    }

    fn backward_reduce(
        &self,
        request: Checked<BackwardReduce<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        Composed(&self.0).backward_reduce(request)
    }

    fn backward_apply(
        &self,
        request: Checked<BackwardApply<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        Composed(&self.0).backward_apply(request)
    }

    fn forward_training(
        &self,
        request: Checked<ForwardTraining<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let mut request = request.into_inner();
        self.0.training(&mut request);
        Composed(&self.0).forward_training(request.check()?)
    }

    fn forward_inference(
        &self,
        request: Checked<ForwardInference<'_, T, HostMemory>>,
    ) -> Result<(), Error> {
        let mut request = request.into_inner();
        self.0.inference(&mut request);
        Composed(&self.0).forward_inference(request.check()?)
    }

    fn backward(&self, request: Checked<Backward<'_, T, HostMemory>>) -> Result<(), Error> {
        let mut request = request.into_inner();
        self.0.backward(&mut request);
        Composed(&self.0).backward(request.check()?)
    }
}
