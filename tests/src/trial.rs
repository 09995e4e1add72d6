//! Trials and what came of them.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bn_core::{Element, Feature};

use crate::call::Operations;
use crate::compare::Verdict;

/// One thing that a backend is tried on.
pub struct Trial {
    name: String,
    run: Box<dyn FnOnce() -> Outcome + Send>,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend did what the contract says.
    Passed,
    /// It did not; what was wrong.
    Failed(String),
    /// It could not be tried; why.
    Ignored(String),
}

impl Trial {
    pub(crate) fn new(name: String, run: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Its name, as paths are written: layer, element type, layout, what is special.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it. A panic is a failure.
    #[must_use]
    pub fn run(self) -> Outcome {
        catch_unwind(AssertUnwindSafe(self.run)).unwrap_or_else(|payload| {
            let words = payload.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| payload.downcast_ref::<&str>().copied());
            Outcome::Failed(format!("panicked: {}", words.unwrap_or("without a message")))
        })
    }

    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        self.name = format!("{prefix}/{}", self.name);
        self
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Outcomes of trials, by name, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names and outcomes.
    pub outcomes: Vec<(String, Outcome)>,
}

impl Report {
    /// Runs trials one after the other.
    #[must_use]
    pub fn of(trials: impl IntoIterator<Item = Trial>) -> Self {
        let run = |trial: Trial| (trial.name().to_owned(), trial.run());
        Self { outcomes: trials.into_iter().map(run).collect() }
    }

    /// The names of the trials that passed.
    pub fn passed(&self) -> impl Iterator<Item = &str> {
        let passed = |outcome: &Outcome| *outcome == Outcome::Passed;
        self.outcomes.iter().filter(move |(_, o)| passed(o)).map(|(name, _)| name.as_str())
    }

    /// The trials that failed: name and what was wrong.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.outcomes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(wrong) => Some((name.as_str(), wrong.as_str())),
            _ => None,
        })
    }

    /// The trials that could not run: name and why.
    pub fn ignored(&self) -> impl Iterator<Item = (&str, &str)> {
        self.outcomes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Ignored(reason) => Some((name.as_str(), reason.as_str())),
            _ => None,
        })
    }
}

/// `12 passed; 1 failed; 3 ignored`, and a line for each failure.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed().count(), self.failed().count());
        write!(f, "{passed} passed; {failed} failed; {} ignored", self.ignored().count())?;
        self.failed().try_for_each(|(name, wrong)| write!(f, "\n{name}: {wrong}"))
    }
}

/// What trials of one element type are made for: a backend, or the reason why there is none.
pub(crate) enum Subject<T> {
    Here(Arc<dyn Operations<T>>),
    Absent(Absence),
}

impl<T> Clone for Subject<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Here(operations) => Self::Here(Arc::clone(operations)),
            Self::Absent(absence) => Self::Absent(absence.clone()),
        }
    }
}

/// Why there is no backend, and whether there had to be one.
#[derive(Clone, Debug)]
pub(crate) struct Absence {
    pub reason: String,
    pub required: bool,
}

impl Absence {
    fn outcome(self) -> Outcome {
        let Self { reason, required } = self;
        if required {
            Outcome::Failed(format!("required by {REQUIRE}: {reason}"))
        } else {
            Outcome::Ignored(reason)
        }
    }
}

/// The environment variable that names the backends which must be there.
pub(crate) const REQUIRE: &str = "BN_REQUIRE";

/// The trials of one element type, as they are gathered.
pub(crate) struct Plan<T> {
    subject: Subject<T>,
    trials: Vec<Trial>,
}

impl<T: Element> Plan<T> {
    pub(crate) fn new(subject: Subject<T>) -> Self {
        Self { subject, trials: Vec::new() }
    }

    pub(crate) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }

    pub(crate) fn extend(&mut self, trials: Vec<Trial>) {
        self.trials.extend(trials);
    }

    pub(crate) fn subject(&self) -> &Subject<T> {
        &self.subject
    }

    /// Adds a trial. Where the backend lacks a feature that it needs, it is ignored for the backend's
    /// reason; where there is no backend, for the reason of that.
    pub(crate) fn add(
        &mut self,
        name: String,
        needs: impl IntoIterator<Item = Feature>,
        run: impl FnOnce(&dyn Operations<T>) -> Verdict + Send + 'static,
    ) {
        let trial = match &self.subject {
            Subject::Absent(absence) => {
                let absence = absence.clone();
                Trial::new(name, || absence.outcome())
            }
            Subject::Here(operations) => {
                let capabilities = operations.capabilities();
                let refused = needs.into_iter().find(|&feature| !capabilities.supports(feature));
                match refused.map(|feature| (feature, capabilities.refusal(feature))) {
                    Some((feature, reason)) => {
                        let reason = format!("no {feature}: {}", reason.unwrap_or_default());
                        Trial::new(name, || Outcome::Ignored(reason))
                    }
                    None => {
                        let operations = Arc::clone(operations);
                        Trial::new(name, move || match run(&*operations) {
                            Ok(()) => Outcome::Passed,
                            Err(wrong) => Outcome::Failed(wrong),
                        })
                    }
                }
            }
        };
        self.trials.push(trial);
    }

    /// Adds a trial that only slices can carry.
    pub(crate) fn add_on_slices(
        &mut self,
        name: String,
        needs: impl IntoIterator<Item = Feature>,
        run: impl FnOnce(&dyn Operations<T>) -> Verdict + Send + 'static,
    ) {
        match &self.subject {
            Subject::Here(operations) if !operations.has_slices() => {
                let reason = "buffers of this memory are allocated whole".to_owned();
                self.trials.push(Trial::new(name, || Outcome::Ignored(reason)));
            }
            _ => self.add(name, needs, run),
        }
    }
}
