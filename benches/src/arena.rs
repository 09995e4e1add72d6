//! Backends on the buffers of a case, whatever the element type.

use bn_core::{DType, Element, Error, HostBackend, Problem, bf16, f16};

use crate::Case;
use crate::workload::Workload;

/// The buffers of one case and the backends that run on them, ready to be called by number.
pub trait Arena {
    /// Runs the case's operation once on the backend at `index` of those opened.
    ///
    /// # Errors
    ///
    /// What the backend says, for instance that it lacks a feature.
    fn run(&mut self, index: usize) -> Result<(), Error>;
}

struct Typed<T: Element> {
    workload: Workload<T>,
    backends: Vec<Box<HostBackend<T>>>,
}

impl<T: Element> Arena for Typed<T> {
    fn run(&mut self, index: usize) -> Result<(), Error> {
        self.workload.run(&*self.backends[index])
    }
}

/// Allocates and fills the buffers of a case and opens these backends for it.
///
/// # Errors
///
/// [`bn::Error`] where a backend cannot be opened for the case's element type and threads.
pub fn open(case: &Case, backends: &[&str]) -> Result<Box<dyn Arena>, bn::Error> {
    open_on(case, case.problem(), backends)
}

/// Runs a case's operation on a tensor of a few values: whether the backend takes it at all.
///
/// # Errors
///
/// As [`open`], and what the backend says, for instance that it lacks a feature.
pub fn probe(case: &Case, backend: &str) -> Result<(), bn::Error> {
    let problem = Problem::new(&[2, 3, 4], case.layout)?;
    Ok(open_on(case, problem, &[backend])?.run(0)?)
}

fn open_on(case: &Case, problem: Problem, backends: &[&str]) -> Result<Box<dyn Arena>, bn::Error> {
    match case.dtype {
        DType::F32 => typed::<f32>(case, problem, backends),
        DType::F64 => typed::<f64>(case, problem, backends),
        DType::F16 => typed::<f16>(case, problem, backends),
        DType::BF16 => typed::<bf16>(case, problem, backends),
        DType::U8 => unreachable!("a selection holds element types only"),
    }
}

fn typed<T: Element>(
    case: &Case,
    problem: Problem,
    backends: &[&str],
) -> Result<Box<dyn Arena>, bn::Error> {
    let options = bn::Options::default().with_threads(case.threads);
    let backends = backends.iter().map(|&name| bn::open::<T>(name, &options));
    let backends = backends.collect::<Result<_, _>>()?;
    Ok(Box::new(Typed { workload: Workload::<T>::new(case.operation, problem), backends }))
}
