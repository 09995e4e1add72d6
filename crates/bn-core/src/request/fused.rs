//! The requests of the fused operations, which every backend has and fast ones override.

use super::{
    Checked, InOut, Request, SavedStatistics, SavedTensor, affine, common_needs, counts, epilogue,
    eps, gate, length, mask, per_channel, per_statistic, tensor,
};
use crate::{
    Counts, Dependence, Element, Epilogue, Error, Feature, Gate, Memory, Momentum, Problem,
    RunningVariance, Seen, SingleValue, ValidPositions,
};

/// Normalises with the statistics of the batch, saves them for backward, and updates running ones.
///
/// | reads | writes |
/// |---|---|
/// | x, gamma, beta, residual, mask; the running statistics, where given | y, saved statistics, bits; the running statistics, where given |
///
/// # Errors of its check
///
/// [`Error::Length`], [`Error::Eps`], [`Error::Momentum`], [`Error::MaskOfAnotherProblem`], and
/// [`Error::OneValuePerChannel`] unless `single_value` allows it.
pub struct ForwardTraining<'a, T: Element, M: Memory> {
    /// The shape of x and y.
    pub problem: Problem,
    /// x → y, N·C·S values each.
    pub io: InOut<'a, M::Buffer<T>>,
    /// Which positions count; all where `None`.
    pub valid: Option<&'a ValidPositions<'a, M>>,
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a M::Buffer<T::Param>>,
    /// C shifts; 0 where `None`.
    pub beta: Option<&'a M::Buffer<T::Param>>,
    /// Added to the variance inside the root.
    pub eps: f64,
    /// What follows the normalisation.
    pub epilogue: Epilogue<'a, T, M>,
    /// Running statistics to update; kept as they are where `None`.
    pub running: Option<RunningMut<'a, T, M>>,
    /// What to do where each channel has one value.
    pub single_value: SingleValue,
    /// Written: what backward needs.
    pub saved: SavedStatistics<'a, M>,
}

impl<'a, T: Element, M: Memory> ForwardTraining<'a, T, M> {
    /// A request without gamma, beta, epilogue, mask and running statistics, with eps 1e-5.
    ///
    /// The rest is set by struct update:
    /// `ForwardTraining { gamma: Some(&gamma), ..ForwardTraining::new(problem, io, saved) }`.
    pub const fn new(
        problem: Problem,
        io: InOut<'a, M::Buffer<T>>,
        saved: SavedStatistics<'a, M>,
    ) -> Self {
        Self {
            problem,
            io,
            valid: None,
            gamma: None,
            beta: None,
            eps: 1e-5,
            epilogue: Epilogue::None,
            running: None,
            single_value: SingleValue::Refuse,
            saved,
        }
    }

    /// How many values the statistics of each group are taken over.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(&self.problem, self.valid)
    }
}

impl<T: Element, M: Memory> Request for ForwardTraining<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        self.io.check::<T, M>(&self.problem, ["x", "y"])?;
        mask(&self.problem, self.valid)?;
        affine::<T, M>(&self.problem, self.gamma, self.beta)?;
        eps(self.eps)?;
        epilogue(&self.problem, &self.epilogue)?;
        self.running.as_ref().map_or(Ok(()), |running| running.check(self.problem.channels()))?;
        self.saved.check(&self.problem)?;
        match (self.counts().single_value(), self.single_value) {
            (Some(group), SingleValue::Refuse) => Err(Error::OneValuePerChannel { group }),
            _ => Ok(Checked(self)),
        }
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.problem, self.valid.is_some())
            .chain(self.io.needs())
            .chain(self.epilogue.needs())
    }
}

/// Running statistics that training updates, C values each whatever the groups: those of several
/// groups are merged exactly before they enter.
pub struct RunningMut<'a, T: Element, M: Memory> {
    /// The running mean, or Caffe's sum of means.
    pub mean: &'a mut M::Buffer<T::Param>,
    /// The running variance, or Caffe's sum of variances.
    pub var: &'a mut M::Buffer<T::Param>,
    /// The number of batches and Caffe's factor; advanced with the update.
    pub seen: &'a mut Seen,
    /// How the batch enters.
    pub momentum: Momentum,
    /// Which variance enters.
    pub variance: RunningVariance,
}

impl<T: Element, M: Memory> RunningMut<'_, T, M> {
    pub(crate) fn check(&self, channels: usize) -> Result<(), Error> {
        let extent = "C, one per channel";
        length("running_mean", M::len(self.mean), channels, extent)?;
        length("running_var", M::len(self.var), channels, extent)?;
        self.momentum.check()
    }
}

/// Normalises with fixed statistics: evaluation, frozen training, statistics from elsewhere.
///
/// | reads | writes |
/// |---|---|
/// | x, gamma, beta, residual, the statistics | y, bits; saved statistics, where asked for |
///
/// # Errors of its check
///
/// [`Error::Length`], and with running statistics [`Error::Eps`] and [`Error::Scale`].
pub struct ForwardInference<'a, T: Element, M: Memory> {
    /// The shape of x and y. Running statistics know no groups: the check takes them away.
    pub problem: Problem,
    /// x → y, N·C·S values each.
    pub io: InOut<'a, M::Buffer<T>>,
    /// What normalises.
    pub statistics: FixedStatistics<'a, T, M>,
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a M::Buffer<T::Param>>,
    /// C shifts; 0 where `None`.
    pub beta: Option<&'a M::Buffer<T::Param>>,
    /// What follows the normalisation.
    pub epilogue: Epilogue<'a, T, M>,
    /// Written where given: what backward through fixed statistics needs.
    pub saved: Option<SavedStatistics<'a, M>>,
}

/// Statistics that do not come from the batch at hand.
pub enum FixedStatistics<'a, T: Element, M: Memory> {
    /// Running ones, C values each.
    Running {
        /// The running mean, or Caffe's sum of means.
        mean: &'a M::Buffer<T::Param>,
        /// The running variance, or Caffe's sum of variances.
        var: &'a M::Buffer<T::Param>,
        /// What both are multiplied by: [`Seen::scale`], 1 for all but Caffe's sums.
        scale: f64,
        /// Added to the variance inside the root.
        eps: f64,
    },
    /// Any others, G·C values each.
    Given {
        /// The means.
        mean: &'a M::Buffer<f64>,
        /// The values of 1/sqrt(variance + eps).
        inv_std: &'a M::Buffer<f64>,
    },
}

impl<'a, T: Element, M: Memory> FixedStatistics<'a, T, M> {
    /// Running statistics as their convention keeps them: Caffe's sums are divided by their factor.
    pub fn running(
        mean: &'a M::Buffer<T::Param>,
        var: &'a M::Buffer<T::Param>,
        (seen, momentum): (&Seen, &Momentum),
        eps: f64,
    ) -> Self {
        Self::Running { mean, var, scale: seen.scale(momentum), eps }
    }
}

impl<T: Element, M: Memory> Clone for FixedStatistics<'_, T, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element, M: Memory> Copy for FixedStatistics<'_, T, M> {}

impl<'a, T: Element, M: Memory> ForwardInference<'a, T, M> {
    /// A request without gamma, beta and epilogue that saves nothing.
    ///
    /// The rest is set by struct update, as for [`ForwardTraining::new`].
    pub const fn new(
        problem: Problem,
        io: InOut<'a, M::Buffer<T>>,
        statistics: FixedStatistics<'a, T, M>,
    ) -> Self {
        let epilogue = Epilogue::None;
        Self { problem, io, statistics, gamma: None, beta: None, epilogue, saved: None }
    }

    /// The problem as the statistics see it: running ones know no groups.
    const fn effective_problem(&self) -> Problem {
        match self.statistics {
            FixedStatistics::Running { .. } => self.problem.ungrouped(),
            FixedStatistics::Given { .. } => self.problem,
        }
    }
}

impl<T: Element, M: Memory> Request for ForwardInference<'_, T, M> {
    fn check(mut self) -> Result<Checked<Self>, Error> {
        self.problem = self.effective_problem();
        let problem = self.problem;
        self.io.check::<T, M>(&problem, ["x", "y"])?;
        match &self.statistics {
            FixedStatistics::Running { mean, var, scale, eps: found } => {
                per_channel::<_, M>("running_mean", &problem, mean)?;
                per_channel::<_, M>("running_var", &problem, var)?;
                eps(*found)?;
                if !scale.is_finite() {
                    return Err(Error::Scale { found: *scale });
                }
            }
            FixedStatistics::Given { mean, inv_std } => {
                per_statistic::<M>("mean", &problem, mean)?;
                per_statistic::<M>("inv_std", &problem, inv_std)?;
            }
        }
        affine::<T, M>(&problem, self.gamma, self.beta)?;
        epilogue(&problem, &self.epilogue)?;
        self.saved.as_ref().map_or(Ok(()), |saved| saved.check(&problem))?;
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.effective_problem(), false)
            .chain(self.io.needs())
            .chain(self.epilogue.needs())
    }
}

/// Gives dx, dgamma and dbeta from dy.
///
/// | reads | writes |
/// |---|---|
/// | dy, x or x̂, gamma, the saved statistics, y or bits behind a ReLU, mask | dx; dgamma, dbeta, dresidual, where given |
///
/// # Errors of its check
///
/// [`Error::Length`], [`Error::MaskOfAnotherProblem`].
pub struct Backward<'a, T: Element, M: Memory> {
    /// The shape of dy and dx, with the groups that forward had (none after running statistics).
    pub problem: Problem,
    /// dy → dx, N·C·S values each.
    pub io: InOut<'a, M::Buffer<T>>,
    /// x or x̂, N·C·S values.
    pub saved: SavedTensor<'a, M::Buffer<T>>,
    /// The G·C means that forward saved.
    pub mean: &'a M::Buffer<f64>,
    /// The G·C values of 1/sqrt(variance + eps) that forward saved.
    pub inv_std: &'a M::Buffer<f64>,
    /// Whether those were statistics of the batch.
    pub dependence: Dependence,
    /// The mask that forward had.
    pub valid: Option<&'a ValidPositions<'a, M>>,
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a M::Buffer<T::Param>>,
    /// What a fused ReLU let through.
    pub gate: Gate<'a, T, M>,
    /// Written where given: C values of Σdy·x̂, over all groups.
    pub dgamma: Option<&'a mut M::Buffer<T::Param>>,
    /// Written where given: C values of Σdy, over all groups.
    pub dbeta: Option<&'a mut M::Buffer<T::Param>>,
    /// Written where given: the gradient of a fused residual, N·C·S values.
    pub dresidual: Option<&'a mut M::Buffer<T>>,
}

impl<'a, T: Element, M: Memory> Backward<'a, T, M> {
    /// A request for dx alone, through batch statistics, without gamma, mask and ReLU.
    ///
    /// The rest is set by struct update, as for [`ForwardTraining::new`].
    pub const fn new(
        problem: Problem,
        io: InOut<'a, M::Buffer<T>>,
        saved: SavedTensor<'a, M::Buffer<T>>,
        mean: &'a M::Buffer<f64>,
        inv_std: &'a M::Buffer<f64>,
    ) -> Self {
        Self {
            problem,
            io,
            saved,
            mean,
            inv_std,
            dependence: Dependence::Batch,
            valid: None,
            gamma: None,
            gate: Gate::Open,
            dgamma: None,
            dbeta: None,
            dresidual: None,
        }
    }

    /// How many values the statistics of each group were taken over.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(&self.problem, self.valid)
    }
}

impl<T: Element, M: Memory> Request for Backward<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        self.io.check::<T, M>(&self.problem, ["dy", "dx"])?;
        tensor::<T, M>(self.saved.name(), &self.problem, self.saved.buffer())?;
        per_statistic::<M>("mean", &self.problem, self.mean)?;
        per_statistic::<M>("inv_std", &self.problem, self.inv_std)?;
        mask(&self.problem, self.valid)?;
        affine::<T, M>(&self.problem, self.gamma, None)?;
        gate(&self.problem, &self.gate)?;
        for (operand, gradient) in [("dgamma", &self.dgamma), ("dbeta", &self.dbeta)] {
            if let Some(gradient) = gradient {
                per_channel::<_, M>(operand, &self.problem, gradient)?;
            }
        }
        if let Some(dresidual) = &self.dresidual {
            tensor::<T, M>("dresidual", &self.problem, dresidual)?;
        }
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.problem, self.valid.is_some())
            .chain(self.io.needs())
            .chain(self.saved.needs())
            .chain(self.gate.needs())
            .chain(self.dresidual.is_some().then_some(Feature::AddRelu))
    }
}
