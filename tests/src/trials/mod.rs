//! The trials, layer by layer.

mod exact;
mod golden;
mod gradient;
mod hostile;
mod matrix;
mod operations;
mod property;
pub(crate) mod refusal;
mod round_trip;
mod shapes;
mod variant;

use std::any::Any;

use bn_core::{Element, Layout, Problem, bf16, f16};

use crate::trial::{Plan, Subject, Trial};

/// What one element type's trials are made for.
pub(crate) struct Subjects<T> {
    /// The backend, or why it is not there.
    pub first: Subject<T>,
    /// Its variants, by name.
    pub variants: Vec<(String, Subject<T>)>,
}

/// Every trial of an element type.
///
/// Compiled here, once for each of the four types, and not in every backend's own tests: these are
/// most of the suite's code. A generic function is compiled where it is called, so the call that is
/// generic hands its type over at run time.
pub(crate) fn of<T: Element>(subjects: Subjects<T>) -> Vec<Trial> {
    compiled(Box::new(subjects))
}

fn compiled(subjects: Box<dyn Any>) -> Vec<Trial> {
    fn gather<T: Element>(subjects: Box<dyn Any>) -> Result<Vec<Trial>, Box<dyn Any>> {
        subjects.downcast::<Subjects<T>>().map(|subjects| gathered(*subjects))
    }
    let trials = gather::<f32>(subjects)
        .or_else(gather::<f64>)
        .or_else(gather::<f16>)
        .or_else(gather::<bf16>);
    trials.unwrap_or_else(|_| unreachable!("the element types are sealed, and these are all four"))
}

fn gathered<T: Element>(subjects: Subjects<T>) -> Vec<Trial> {
    let mut plan = Plan::new(subjects.first);
    exact::all(&mut plan);
    operations::all(&mut plan);
    matrix::all(&mut plan);
    shapes::all(&mut plan);
    gradient::all(&mut plan);
    golden::all(&mut plan);
    property::all(&mut plan);
    hostile::all(&mut plan);
    refusal::all(&mut plan);
    for (name, variant) in subjects.variants {
        variant::all(&mut plan, &name, &variant);
    }
    plan.into_trials()
}

/// The problem of a shape written channels-first, in a layout.
pub(crate) fn problem(shape: &[usize], layout: Layout) -> Problem {
    let mut dims = shape.to_vec();
    if layout == Layout::ChannelsLast {
        dims[1..].rotate_left(1);
    }
    Problem::new(&dims, layout).expect("the suite's own shapes are good")
}

/// `f32/channels-first`.
pub(crate) fn place<T: Element>(layout: Layout) -> String {
    format!("{}/{layout}", T::DTYPE)
}
