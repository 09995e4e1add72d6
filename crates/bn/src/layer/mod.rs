//! The layer: parameters, running statistics and a backend, over arrays of any rank.

use std::fmt;
use std::sync::Arc;

use bn_core::{BatchNormBackend, Element, HostBackend, HostMemory, Layout, Problem};
use ndarray::{Array1, ArrayView1, ArrayViewMut1};

use crate::Error;

mod backward;
mod builder;
mod cache;
mod forward;
mod input;
mod running;
mod streamed;

pub use backward::Gradients;
pub use builder::{Activation, Builder};
pub use cache::{Cache, InPlaceCache};
pub use input::Input;
pub use running::RunningStatistics;
pub use streamed::StreamedMoments;

/// A batch normalisation layer over ndarray arrays of `T`, of any rank from 2.
///
/// `B` is the backend: any, chosen at run time, where it is not named. Which statistics normalise is
/// said in every call, by a [`Mode`](crate::Mode); the layer has no hidden training flag.
///
/// | call | mode | normalises with | running statistics | backward |
/// |---|---|---|---|---|
/// | `forward(x, Mode::TRAIN)` | training | the batch's | updated | through the statistics |
/// | `forward(x, Mode::BATCH_ONLY)` | batch only | the batch's | kept | through the statistics |
/// | `forward(x, Mode::EVAL)` | frozen | running | kept | fixed statistics |
/// | `forward(x, Mode::RECALIBRATE)` | recalibrating | running | updated afterwards | fixed statistics |
/// | [`infer(x)`](BatchNorm::infer) | evaluation | running | kept | none: nothing is cached |
///
/// Arrays in standard layout are taken as they are; others (transposed, sliced with steps, broadcast)
/// are copied once. Outputs are in standard layout. After an error, parameters, running statistics and
/// borrowed arrays are what they were; only where a device fails amid an in-place operation is its
/// array lost.
pub struct BatchNorm<T: Element, B: ?Sized = HostBackend<T>> {
    settings: builder::Settings,
    gamma: Option<Array1<T::Param>>,
    beta: Option<Array1<T::Param>>,
    running: Option<RunningStatistics<T::Param>>,
    backend: Arc<B>,
}

impl<T: Element> BatchNorm<T> {
    /// Starts a layer of this many channels, which lie where `layout` says.
    #[must_use]
    pub fn builder(channels: usize, layout: Layout) -> Builder<T> {
        Builder::new(channels, layout)
    }
}

impl<T: Element, B: ?Sized> BatchNorm<T, B> {
    /// The number of channels.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.settings.channels
    }

    /// Where the channels lie.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.settings.layout
    }

    /// What is added to the variance inside the root.
    #[must_use]
    pub const fn eps(&self) -> f64 {
        self.settings.eps
    }

    /// What is fused behind the normalisation.
    #[must_use]
    pub const fn activation(&self) -> Activation {
        self.settings.activation
    }

    /// The scale; `None` where the layer was built without.
    #[must_use]
    pub fn gamma(&self) -> Option<ArrayView1<'_, T::Param>> {
        self.gamma.as_ref().map(|gamma| gamma.view())
    }

    /// The shift; `None` where the layer was built without.
    #[must_use]
    pub fn beta(&self) -> Option<ArrayView1<'_, T::Param>> {
        self.beta.as_ref().map(|beta| beta.view())
    }

    /// The scale, for an optimiser to change.
    #[must_use]
    pub fn gamma_mut(&mut self) -> Option<ArrayViewMut1<'_, T::Param>> {
        self.gamma.as_mut().map(|gamma| gamma.view_mut())
    }

    /// The shift, for an optimiser to change.
    #[must_use]
    pub fn beta_mut(&mut self) -> Option<ArrayViewMut1<'_, T::Param>> {
        self.beta.as_mut().map(|beta| beta.view_mut())
    }

    /// The backend, to share it with another layer.
    #[must_use]
    pub const fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// The axis of x that holds the channels.
    const fn channel_axis(&self, rank: usize) -> usize {
        match self.settings.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => rank - 1,
        }
    }

    /// The problem of an x of these dimensions, without groups.
    fn problem(&self, dims: &[usize]) -> Result<Problem, Error> {
        let problem = Problem::new(dims, self.settings.layout)?;
        if problem.channels() == self.settings.channels {
            return Ok(problem);
        }
        Err(Error::Channels {
            dims: dims.into(),
            layout: self.settings.layout,
            found: problem.channels(),
            expected: self.settings.channels,
        })
    }
}

impl<T: Element, B: ?Sized> Clone for BatchNorm<T, B> {
    /// A layer with parameters and statistics of its own on the same backend.
    fn clone(&self) -> Self {
        Self {
            settings: self.settings,
            gamma: self.gamma.clone(),
            beta: self.beta.clone(),
            running: self.running.clone(),
            backend: Arc::clone(&self.backend),
        }
    }
}

impl<T, B> fmt::Debug for BatchNorm<T, B>
where
    T: Element,
    B: BatchNormBackend<T, Memory = HostMemory> + ?Sized,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchNorm")
            .field("settings", &self.settings)
            .field("gamma", &self.gamma)
            .field("beta", &self.beta)
            .field("running", &self.running)
            .field("backend", &self.backend.name())
            .finish()
    }
}
