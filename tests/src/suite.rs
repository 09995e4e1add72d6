//! The suite: a backend, its variants, and the trials that they are put to.

use core::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use bn_core::{Backend, BatchNormBackend, Element, Error, HostMemory, Layout, Problem, bf16, f16};

use crate::call::{How, MomentsCall, Operations, Rig};
use crate::place::{BetweenCanaries, Exact, Place};
use crate::trial::{Absence, Plan, REQUIRE, Report, Subject, Trial};
use crate::trials;

/// The trials of one backend.
///
/// A backend, or the reason why there is none, then element types, then [`run`](Suite::run).
/// `P` is how its buffers are made: between canaries on slices, whole in any other memory.
pub struct Suite<B, P = BetweenCanaries> {
    name: &'static str,
    label: Option<String>,
    place: P,
    backend: Made<B>,
    variants: Vec<(String, Made<B>)>,
    plans: Vec<fn(&Self) -> Vec<Trial>>,
    required: String,
}

/// A backend that was made, or why it was not.
type Made<B> = Result<Arc<B>, String>;

impl<B: Backend<Memory = HostMemory> + 'static> Suite<B> {
    /// The suite of a backend on slices that is always there.
    #[must_use]
    pub fn of(backend: B) -> Self {
        Self::placed(backend.name(), Ok(backend), BetweenCanaries)
    }

    /// The suite of a backend on slices that may not be there. Where it is not, all trials are ignored
    /// with the error as reason, or fail where `BN_REQUIRE` names the backend.
    #[must_use]
    pub fn probe(name: &'static str, make: impl FnOnce() -> Result<B, Error>) -> Self {
        Self::placed(name, make(), BetweenCanaries)
    }
}

impl<B: Backend + 'static> Suite<B, Exact> {
    /// The suite of a backend in memory of its own, as [`Suite::probe`]. Its slices form, inside
    /// [`Staged`](bn_core::Staged), is a backend for [`Suite::probe`].
    #[must_use]
    pub fn on_device(name: &'static str, make: impl FnOnce() -> Result<B, Error>) -> Self {
        Self::placed(name, make(), Exact)
    }
}

impl<B: Backend + 'static, P: Place<B::Memory>> Suite<B, P> {
    fn placed(name: &'static str, made: Result<B, Error>, place: P) -> Self {
        let backend = made.map(Arc::new).map_err(|error| error.to_string());
        let required = std::env::var(REQUIRE).unwrap_or_default();
        let (label, variants, plans) = (None, Vec::new(), Vec::new());
        Self { name, label, place, backend, variants, plans, required }
    }

    /// What must be there, as `BN_REQUIRE` lists it: names of backends and of variants, `name/variant`,
    /// with commas between. The absence of one of them fails its trials.
    #[must_use]
    pub fn require(mut self, names: &str) -> Self {
        self.required = format!("{},{names}", self.required);
        self
    }

    /// Puts `label/` in front of every trial's name: for a second suite in the same program.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Another form of the same backend, whose outputs must all be the same bits as the first's: another
    /// number of threads, another instruction set. What is allowed to round in its own way is a suite
    /// of its own. `BN_REQUIRE=name/variant` turns its absence into a failure.
    #[must_use]
    pub fn variant(
        mut self,
        name: impl Into<String>,
        make: impl FnOnce() -> Result<B, Error>,
    ) -> Self {
        let made = make().map(Arc::new).map_err(|error| error.to_string());
        self.variants.push((name.into(), made));
        self
    }

    /// Adds the trials of one element type.
    #[must_use]
    pub fn element<T: Element>(mut self) -> Self
    where
        B: BatchNormBackend<T>,
    {
        self.plans.push(Self::plan::<T>);
        self
    }

    /// Adds the trials of all four element types.
    #[must_use]
    pub fn every_element(self) -> Self
    where
        B: BatchNormBackend<f32>
            + BatchNormBackend<f64>
            + BatchNormBackend<f16>
            + BatchNormBackend<bf16>,
    {
        self.element::<f32>().element::<f64>().element::<f16>().element::<bf16>()
    }

    /// Every trial, in order.
    #[must_use]
    pub fn trials(&self) -> Vec<Trial> {
        let trials = self.plans.iter().flat_map(|plan| plan(self));
        match &self.label {
            Some(label) => trials.map(|trial| trial.prefixed(label)).collect(),
            None => trials.collect(),
        }
    }

    /// Runs the trials whose name contains `filter`, in this thread.
    #[must_use]
    pub fn report(&self, filter: &str) -> Report {
        Report::of(self.trials().into_iter().filter(|trial| trial.name().contains(filter)))
    }

    /// Runs the trials as a test program does, with the arguments of one.
    #[must_use]
    pub fn run(self) -> ExitCode {
        run(self.trials())
    }

    fn plan<T: Element>(&self) -> Vec<Trial>
    where
        B: BatchNormBackend<T>,
    {
        let first = self.subject::<T>(&self.backend, None);
        let variants = self.variants.iter();
        let variants =
            variants.map(|(name, made)| (name.clone(), self.subject::<T>(made, Some(name))));
        let variants = variants.collect();
        if let Subject::Here(operations) = &first
            && let Some(reason) = refuses_element(&**operations)
        {
            // Every trial appears, ignored; in their place it is tried that nothing is written.
            let mut refused = Plan::new(first);
            trials::refusal::of_element(&mut refused);
            let first = Subject::<T>::Absent(Absence { reason, required: false });
            let ignored = trials::of(trials::Subjects { first, variants: Vec::new() });
            return refused.into_trials().into_iter().chain(ignored).collect();
        }
        trials::of(trials::Subjects { first, variants })
    }

    fn subject<T: Element>(&self, made: &Made<B>, variant: Option<&str>) -> Subject<T>
    where
        B: BatchNormBackend<T>,
    {
        match made {
            Ok(backend) => {
                Subject::Here(Arc::new(Rig::new(Arc::clone(backend), self.place.clone())))
            }
            Err(reason) => {
                let name = variant.map_or_else(
                    || self.name.to_owned(),
                    |variant| format!("{}/{variant}", self.name),
                );
                let mut listed = self.required.split(',');
                let required = listed.any(|required| required.trim() == name);
                Subject::Absent(Absence { reason: reason.clone(), required })
            }
        }
    }
}

impl<B, P> fmt::Debug for Suite<B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why the backend does not compute in this element type at all, asked of it by its smallest request.
fn refuses_element<T: Element>(operations: &dyn Operations<T>) -> Option<String> {
    let layouts = Layout::ALL.into_iter();
    let problems = layouts.filter_map(|layout| Problem::new(&[2, 1, 2], layout).ok());
    let supported = problems
        .into_iter()
        .find(|problem| operations.capabilities().supports(problem.layout().into()))?;
    let x = vec![T::default(); supported.elements()];
    let call = MomentsCall { problem: supported, x: &x, mask: None };
    match operations.moments(&call, How::default()).ok()?.outcome {
        Err(error @ Error::UnsupportedElement { .. }) => Some(error.to_string()),
        _ => None,
    }
}

/// Runs trials as a test program does: `main` of a `harness = false` test, for one suite or for several
/// put together.
///
/// The program takes the arguments of every test program (`--list`, a filter, `--test-threads`) and
/// prints its lines: `test NAME ... ok`, `… FAILED`, `… ignored (REASON)`, and at the end
/// `test result: ok. N passed; 0 failed; M ignored; …`.
#[must_use]
pub fn run(trials: impl IntoIterator<Item = Trial>) -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = trials.into_iter().map(|trial| {
        libtest_mimic::Trial::ignorable_test(trial.name().to_owned(), || match trial.run() {
            crate::Outcome::Passed => Ok(libtest_mimic::Completion::Completed),
            crate::Outcome::Ignored(why) => Ok(libtest_mimic::Completion::ignored_with(why)),
            crate::Outcome::Failed(wrong) => Err(wrong.into()),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
