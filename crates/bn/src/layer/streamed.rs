//! Statistics of more than one batch: taken batch by batch, merged exactly, entered once.

use bn_core::{
    BatchNormBackend, ChannelMoments, Element, HostMemory, Moments, Momentum, Problem, Request,
    RunningMut, SingleValue, ValidPositions, moments_of,
};

use super::running::RunningStatistics;
use super::{BatchNorm, Input};
use crate::{Error, dense};

/// The moments of each channel over all batches merged so far.
///
/// Batches may differ in size: the merge is by count, so the result is that of all values together.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamedMoments(Vec<ChannelMoments>);

impl StreamedMoments {
    /// One entry for each channel.
    #[must_use]
    pub fn channels(&self) -> &[ChannelMoments] {
        &self.0
    }

    /// Moments from elsewhere, such as another process.
    #[must_use]
    pub const fn from_channels(channels: Vec<ChannelMoments>) -> Self {
        Self(channels)
    }

    /// Merges another batch in.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the numbers of channels differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.0.len() != other.0.len() {
            return Err(Error::shape("moments", &[other.0.len()], &[self.0.len()]));
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.merge(*theirs);
        }
        Ok(())
    }
}

impl<T, B> BatchNorm<T, B>
where
    T: Element,
    B: BatchNormBackend<T, Memory = HostMemory> + ?Sized,
{
    /// Takes the moments of x, of its valid positions where it has a mask, and changes nothing.
    ///
    /// With [`BatchNorm::adopt`] this recalibrates a layer on a whole data set, exactly:
    ///
    /// ```
    /// use bn::{BatchNorm, Layout};
    /// use ndarray::array;
    ///
    /// let mut layer = BatchNorm::<f64>::builder(1, Layout::ChannelsFirst).build()?;
    /// let mut data = layer.moments(&array![[1.0], [2.0]])?;
    /// data.merge(&layer.moments(&array![[3.0], [4.0], [5.0]])?)?;
    /// layer.adopt(&data)?;
    /// let running = layer.running().unwrap();
    /// assert_eq!((running.mean()[0], running.var()[0]), (3.0, 2.5));
    /// # Ok::<(), bn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Channels`] and [`Error::Shape`]; of [`core`](crate::core::Error) those of shapes and masks;
    /// what the backend refuses. A residual is not looked at.
    pub fn moments<'x, 'r, D: ndarray::Dimension>(
        &self,
        input: impl Into<Input<'x, 'r, T, D>>,
    ) -> Result<StreamedMoments, Error> {
        let Input { x, mask, .. } = input.into();
        let problem = self.problem(x.shape())?;
        let axis = self.channel_axis(x.ndim());
        let mask = mask.map(|mask| mask.for_dims(x.shape(), axis)).transpose()?;
        let valid = mask.as_deref().map(|mask| ValidPositions::on_host(&problem, mask));
        let x = dense::standard(x)?;
        self.moments_of(problem, dense::values(&x), valid.transpose()?.as_ref())
    }

    /// Lets moments enter the running statistics as one batch, under the layer's momentum.
    ///
    /// # Errors
    ///
    /// [`Error::NoRunningStatistics`]; [`Error::Shape`] where they are not those of as many channels;
    /// [`Error::TooFewValues`] where a channel has none, or one and the layer refuses that.
    pub fn absorb(&mut self, moments: &StreamedMoments) -> Result<(), Error> {
        let updated = self.require_running("update")?.clone();
        self.running = Some(self.absorbed(updated, moments, self.settings.momentum)?);
        Ok(())
    }

    /// Makes moments the running statistics, whatever those were; they count as the first batch.
    ///
    /// # Errors
    ///
    /// Those of [`BatchNorm::absorb`].
    pub fn adopt(&mut self, moments: &StreamedMoments) -> Result<(), Error> {
        self.require_running("set")?;
        // The first batch of a cumulative average keeps nothing of what was there; Caffe's sums start
        // from 0 and need no more.
        let momentum = match self.settings.momentum {
            sums @ Momentum::CaffeSum(_) => sums,
            _ => Momentum::Cumulative,
        };
        let fresh = RunningStatistics::fresh(self.settings.channels, &momentum)?;
        self.running = Some(self.absorbed(fresh, moments, momentum)?);
        Ok(())
    }

    /// These running statistics after one more batch.
    pub(super) fn absorbed(
        &self,
        mut running: RunningStatistics<T::Param>,
        StreamedMoments(moments): &StreamedMoments,
        momentum: Momentum,
    ) -> Result<RunningStatistics<T::Param>, Error> {
        let channels = self.settings.channels;
        if moments.len() != channels {
            return Err(Error::shape("moments", &[moments.len()], &[channels]));
        }
        let least = match self.settings.single_value {
            SingleValue::Refuse => 2,
            SingleValue::Allow => 1,
        };
        for (channel, moments) in moments.iter().enumerate() {
            if moments.count < least {
                return Err(Error::TooFewValues { channel, found: moments.count, expected: least });
            }
        }
        RunningMut::<T, HostMemory> {
            mean: dense::values_mut(&mut running.mean),
            var: dense::values_mut(&mut running.var),
            seen: &mut running.seen,
            momentum,
            variance: self.settings.variance,
        }
        .absorb(&HostMemory, moments)?;
        Ok(running)
    }

    /// The moments of each channel of x; the problem has no groups.
    pub(super) fn moments_of(
        &self,
        problem: Problem,
        x: &[T],
        valid: Option<&ValidPositions<'_, HostMemory>>,
    ) -> Result<StreamedMoments, Error> {
        let mut mean: Vec<f64> = dense::zeroed(problem.statistics())?;
        let mut m2: Vec<f64> = dense::zeroed(problem.statistics())?;
        let request = Moments::<T, HostMemory> { problem, x, valid, mean: &mut mean, m2: &mut m2 };
        let counts = request.counts();
        self.backend.moments(request.check()?)?;
        Ok(StreamedMoments(moments_of(&problem, &counts, &mean, &m2)))
    }
}

impl<T: Element, B: ?Sized> BatchNorm<T, B> {
    pub(super) fn require_running(
        &self,
        wanted: &'static str,
    ) -> Result<&RunningStatistics<T::Param>, Error> {
        self.running.as_ref().ok_or(Error::NoRunningStatistics { wanted })
    }
}
