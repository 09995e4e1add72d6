//! Layer `golden`: PyTorch's answers, with the tolerances that the reference gives for them.

use bn_core::{Dependence, Element, Feature, Momentum, RunningVariance, Seen};

use crate::call::{
    BackwardCall, Fixed, From, How, InferenceCall, Operations, Passed, Running, Tail, TrainingCall,
    Update,
};
use crate::compare::{Expected, Verdict};
use crate::data::{narrow, wide};
use crate::expect::{Affine, BackwardInputs, ExpectedStatistics, expected_running, expected_y};
use crate::golden::{Golden, GoldenMode};
use crate::reference::{Backward, Moments};
use crate::trial::Plan;

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    for golden in Golden::all().filter(|golden| golden.dtype == T::DTYPE) {
        let mut needs = vec![Feature::from(golden.problem.layout())];
        needs.extend(golden.relu.then_some(Feature::Relu));
        needs.extend(golden.get("residual").map(|_| Feature::AddRelu));
        let name = format!("golden/{}/{}/{}", T::DTYPE, golden.layout, golden.name);
        plan.add(name, needs, move |operations| Inputs::<T>::new(&golden).check(operations));
    }
}

/// The inputs of a case in the type of the case.
struct Inputs<'a, T: Element> {
    golden: &'a Golden,
    x: Vec<T>,
    gamma: Option<Vec<T::Param>>,
    beta: Option<Vec<T::Param>>,
    residual: Option<Vec<T>>,
    before: Running<T::Param>,
}

impl<'a, T: Element> Inputs<'a, T> {
    fn new(golden: &'a Golden) -> Self {
        let batches = golden.get("num_batches_tracked_before").map_or(0.0, |seen| seen[0]);
        Self {
            golden,
            x: narrow(golden.tensor("x")),
            gamma: golden.get("gamma").map(narrow),
            beta: golden.get("beta").map(narrow),
            residual: golden.get("residual").map(narrow),
            before: Running {
                mean: narrow(golden.tensor("running_mean_before")),
                var: narrow(golden.tensor("running_var_before")),
                seen: Seen { batches: batches as u64, factor: 0.0 },
            },
        }
    }

    fn check(&self, operations: &dyn Operations<T>) -> Verdict {
        let golden = self.golden;
        let statistics = self.statistics();
        self.check_forward(operations, &statistics)?;
        golden.get("dy").map_or(Ok(()), |dy| self.check_backward(operations, &narrow::<T>(dy)))
    }

    fn statistics(&self) -> ExpectedStatistics {
        let golden = self.golden;
        if golden.mode == GoldenMode::Train {
            let moments = Moments::of(&golden.problem, golden.tensor("x"), None);
            return ExpectedStatistics::of_batch(&moments, golden.eps, T::DTYPE);
        }
        let (mean, var) = (wide(&self.before.mean), wide(&self.before.var));
        ExpectedStatistics::running(&mean, &var, 1.0, golden.eps)
    }

    fn answer(&self, name: &str, tolerances: &Expected) -> Expected {
        tolerances.around(self.golden.tensor(name).to_vec())
    }

    fn check_forward(
        &self,
        operations: &dyn Operations<T>,
        statistics: &ExpectedStatistics,
    ) -> Verdict {
        let golden = self.golden;
        let (problem, x, eps) = (golden.problem, &self.x[..], golden.eps);
        let (gamma, beta) = (self.gamma.as_deref(), self.beta.as_deref());
        let tail = match &self.residual {
            Some(residual) => Tail::AddRelu { residual, bits: false },
            None if golden.relu => Tail::Relu { bits: false },
            None => Tail::None,
        };
        let momentum = golden.momentum.map_or(Momentum::Cumulative, Momentum::New);
        let update = Update { before: &self.before, momentum, variance: RunningVariance::Unbiased };
        let found = if golden.mode == GoldenMode::Train {
            let update = Some(update);
            let call =
                TrainingCall { gamma, beta, eps, tail, update, ..TrainingCall::new(problem, x) };
            operations.training(&call, How::default())?.written()?
        } else {
            let (mean, var) = (&self.before.mean[..], &self.before.var[..]);
            let fixed = Fixed::Running { mean, var, scale: 1.0, eps };
            let call = InferenceCall { problem, x, fixed, gamma, beta, tail };
            operations.inference(&call, How::default())?.written()?
        };

        let affine = Affine {
            gamma: golden.get("gamma"),
            beta: golden.get("beta"),
            residual: golden.get("residual"),
            relu: golden.relu,
        };
        let y = expected_y(&problem, T::DTYPE, statistics, golden.tensor("x"), affine);
        self.answer("y", &y).meets("y", &found.y)?;
        self.answer("save_mean", &statistics.mean()).meets("save_mean", &found.mean)?;
        let inv_std = self.answer("save_inv_std", &statistics.inv_std());
        inv_std.meets("save_inv_std", &found.inv_std)?;
        let Some(running) = found.running else { return Ok(()) };
        let (mean, var) = expected_running::<T>(&problem, golden.tensor("x"), None, &update);
        self.answer("running_mean_after", &mean).meets("running_mean", &running.mean)?;
        self.answer("running_var_after", &var).meets("running_var", &running.var)
    }

    fn check_backward(&self, operations: &dyn Operations<T>, dy: &[T]) -> Verdict {
        let golden = self.golden;
        let problem = golden.problem;
        let y: Vec<T> = narrow(golden.tensor("y"));
        let open: Vec<bool> = golden.tensor("y").iter().map(|&y| y > 0.0).collect();
        let (mean, inv_std) = (golden.tensor("save_mean"), golden.tensor("save_inv_std"));
        let dependence = match golden.mode {
            GoldenMode::Train => Dependence::Batch,
            _ => Dependence::Fixed,
        };
        let inputs = Backward {
            problem: &problem,
            dy: golden.tensor("dy"),
            open: golden.relu.then_some(&open),
            saved: (golden.tensor("x"), false),
            mean,
            inv_std,
            gamma: golden.get("gamma"),
            dependence,
            mask: None,
        };
        let expected = BackwardInputs { inputs, dtype: T::DTYPE }.expected();
        let call = BackwardCall {
            dependence,
            gamma: self.gamma.as_deref(),
            passed: if golden.relu { Passed::Output(&y) } else { Passed::All },
            wanted: [self.gamma.is_some(), self.beta.is_some(), self.residual.is_some()],
            ..BackwardCall::new(problem, dy, From::Input(&self.x), mean, inv_std)
        };
        let found = operations.backward(&call, How::default())?.written()?;
        self.answer("dx", &expected.dx).meets("dx", &found.dx)?;
        if let Some(dgamma) = &found.dgamma {
            self.answer("dgamma", &expected.dgamma).meets("dgamma", dgamma)?;
        }
        if let Some(dbeta) = &found.dbeta {
            self.answer("dbeta", &expected.dbeta).meets("dbeta", dbeta)?;
        }
        if let Some(dresidual) = &found.dresidual {
            self.answer("dresidual", &expected.dresidual).meets("dresidual", dresidual)?;
        }
        Ok(())
    }
}
