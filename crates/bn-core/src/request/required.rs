//! The requests of the four operations that every backend implements.

use super::{
    Checked, InOut, Request, SavedTensor, affine, common_needs, counts, epilogue, gate, mask,
    per_statistic, tensor,
};
use crate::{Counts, Element, Epilogue, Error, Feature, Gate, Memory, Problem, ValidPositions};

/// Takes the moments of each group and channel: mean and M2 = Σ(x − mean)².
///
/// # Errors of its check
///
/// [`Error::Length`], [`Error::MaskOfAnotherProblem`].
pub struct Moments<'a, T: Element, M: Memory> {
    /// The shape of x.
    pub problem: Problem,
    /// N·C·S values.
    pub x: &'a M::Buffer<T>,
    /// Which positions count; all where `None`.
    pub valid: Option<&'a ValidPositions<'a, M>>,
    /// Written: G·C means.
    pub mean: &'a mut M::Buffer<f64>,
    /// Written: G·C sums of squared deviations.
    pub m2: &'a mut M::Buffer<f64>,
}

impl<T: Element, M: Memory> Moments<'_, T, M> {
    /// How many values each mean and M2 is taken over.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(&self.problem, self.valid)
    }
}

impl<T: Element, M: Memory> Request for Moments<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        tensor::<T, M>("x", &self.problem, self.x)?;
        mask(&self.problem, self.valid)?;
        per_statistic::<M>("mean", &self.problem, self.mean)?;
        per_statistic::<M>("m2", &self.problem, self.m2)?;
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.problem, self.valid.is_some())
    }
}

/// Normalises with given statistics: y = epilogue((x − mean)·inv_std·gamma + beta).
///
/// # Errors of its check
///
/// [`Error::Length`].
pub struct Normalize<'a, T: Element, M: Memory> {
    /// The shape of x and y.
    pub problem: Problem,
    /// x → y, N·C·S values each.
    pub io: InOut<'a, M::Buffer<T>>,
    /// G·C means.
    pub mean: &'a M::Buffer<f64>,
    /// G·C values of 1/sqrt(variance + eps).
    pub inv_std: &'a M::Buffer<f64>,
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a M::Buffer<T::Param>>,
    /// C shifts; 0 where `None`.
    pub beta: Option<&'a M::Buffer<T::Param>>,
    /// What follows the normalisation.
    pub epilogue: Epilogue<'a, T, M>,
}

impl<T: Element, M: Memory> Request for Normalize<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        self.io.check::<T, M>(&self.problem, ["x", "y"])?;
        per_statistic::<M>("mean", &self.problem, self.mean)?;
        per_statistic::<M>("inv_std", &self.problem, self.inv_std)?;
        affine::<T, M>(&self.problem, self.gamma, self.beta)?;
        epilogue(&self.problem, &self.epilogue)?;
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.problem, false).chain(self.io.needs()).chain(self.epilogue.needs())
    }
}

/// Sums what backward needs of each group and channel: Σdy and Σdy·x̂, over all positions, those that a
/// mask left out of the statistics included: they have been normalised too, so what pads them has to
/// be finite.
///
/// With a gate, dy here and everywhere is the gradient behind the ReLU: 0 where nothing passed.
///
/// # Errors of its check
///
/// [`Error::Length`].
pub struct BackwardReduce<'a, T: Element, M: Memory> {
    /// The shape of dy and x.
    pub problem: Problem,
    /// The gradient of y, N·C·S values.
    pub dy: &'a M::Buffer<T>,
    /// What a fused ReLU let through.
    pub gate: Gate<'a, T, M>,
    /// x or x̂, N·C·S values.
    pub saved: SavedTensor<'a, M::Buffer<T>>,
    /// The G·C means that normalised.
    pub mean: &'a M::Buffer<f64>,
    /// The G·C values of 1/sqrt(variance + eps) that normalised.
    pub inv_std: &'a M::Buffer<f64>,
    /// Written: G·C sums of dy.
    pub sum_dy: &'a mut M::Buffer<f64>,
    /// Written: G·C sums of dy·x̂.
    pub sum_dy_xhat: &'a mut M::Buffer<f64>,
}

impl<T: Element, M: Memory> Request for BackwardReduce<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        tensor::<T, M>("dy", &self.problem, self.dy)?;
        gate(&self.problem, &self.gate)?;
        tensor::<T, M>(self.saved.name(), &self.problem, self.saved.buffer())?;
        per_statistic::<M>("mean", &self.problem, self.mean)?;
        per_statistic::<M>("inv_std", &self.problem, self.inv_std)?;
        per_statistic::<M>("sum_dy", &self.problem, self.sum_dy)?;
        per_statistic::<M>("sum_dy_xhat", &self.problem, self.sum_dy_xhat)?;
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        common_needs(&self.problem, false).chain(self.gate.needs()).chain(self.saved.needs())
    }
}

/// Writes dx from dy: with g = gamma·dy,
/// dx = (g − mean(g) − x̂·mean(g·x̂))·inv_std, or dx = g·inv_std where statistics were fixed.
///
/// # Errors of its check
///
/// [`Error::Length`], [`Error::Counts`], [`Error::MaskOfAnotherProblem`].
pub struct BackwardApply<'a, T: Element, M: Memory> {
    /// The shape of dy and dx.
    pub problem: Problem,
    /// dy → dx, N·C·S values each.
    pub io: InOut<'a, M::Buffer<T>>,
    /// What a fused ReLU let through.
    pub gate: Gate<'a, T, M>,
    /// Written: the gradient of a fused residual, which is dy behind the gate; N·C·S values.
    pub dresidual: Option<&'a mut M::Buffer<T>>,
    /// The G·C values of 1/sqrt(variance + eps) that normalised.
    pub inv_std: &'a M::Buffer<f64>,
    /// C scales; 1 where `None`.
    pub gamma: Option<&'a M::Buffer<T::Param>>,
    /// What the dependence of the statistics on x takes away.
    pub correction: Correction<'a, T, M>,
}

/// The part of dx that comes from the statistics' dependence on x.
pub enum Correction<'a, T: Element, M: Memory> {
    /// Statistics were fixed: there is none.
    Fixed,
    /// Statistics were those of the batch.
    Batch {
        /// x or x̂, N·C·S values.
        saved: SavedTensor<'a, M::Buffer<T>>,
        /// The G·C means that normalised.
        mean: &'a M::Buffer<f64>,
        /// G·C sums of dy; over all processes, where statistics were synchronised.
        sum_dy: &'a M::Buffer<f64>,
        /// G·C sums of dy·x̂; over all processes, where statistics were synchronised.
        sum_dy_xhat: &'a M::Buffer<f64>,
        /// What the sums are divided by: the number of values behind the statistics of each group.
        counts: &'a Counts,
        /// Which positions the statistics were taken over; the others have no correction.
        valid: Option<&'a ValidPositions<'a, M>>,
    },
}

impl<T: Element, M: Memory> Correction<'_, T, M> {
    fn check(&self, problem: &Problem) -> Result<(), Error> {
        let Self::Batch { saved, mean, sum_dy, sum_dy_xhat, counts, valid } = self else {
            return Ok(());
        };
        tensor::<T, M>(saved.name(), problem, saved.buffer())?;
        per_statistic::<M>("mean", problem, mean)?;
        per_statistic::<M>("sum_dy", problem, sum_dy)?;
        per_statistic::<M>("sum_dy_xhat", problem, sum_dy_xhat)?;
        counts.fits(problem)?;
        mask(problem, *valid)
    }
}

impl<T: Element, M: Memory> Request for BackwardApply<'_, T, M> {
    fn check(self) -> Result<Checked<Self>, Error> {
        self.io.check::<T, M>(&self.problem, ["dy", "dx"])?;
        gate(&self.problem, &self.gate)?;
        if let Some(dresidual) = &self.dresidual {
            tensor::<T, M>("dresidual", &self.problem, dresidual)?;
        }
        per_statistic::<M>("inv_std", &self.problem, self.inv_std)?;
        affine::<T, M>(&self.problem, self.gamma, None)?;
        self.correction.check(&self.problem)?;
        Ok(Checked(self))
    }

    fn needs(&self) -> impl Iterator<Item = Feature> {
        let (masked, saved) = match &self.correction {
            Correction::Fixed => (false, None),
            Correction::Batch { saved, valid, .. } => (valid.is_some(), saved.needs()),
        };
        common_needs(&self.problem, masked)
            .chain(self.io.needs())
            .chain(self.gate.needs())
            .chain(self.dresidual.is_some().then_some(Feature::AddRelu))
            .chain(saved)
    }
}
