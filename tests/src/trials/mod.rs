//! The trials, layer by layer.

mod exact;
mod golden;
mod gradient;
mod matrix;
mod operations;
pub(crate) mod refusal;
mod round_trip;
mod shapes;
pub(crate) mod variant;

use bn_core::{Element, Layout, Problem};

use crate::trial::Plan;

/// Every trial of an element type but those of variants.
pub(crate) fn all<T: Element>(plan: &mut Plan<T>) {
    exact::all(plan);
    operations::all(plan);
    matrix::all(plan);
    shapes::all(plan);
    gradient::all(plan);
    golden::all(plan);
    refusal::all(plan);
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
