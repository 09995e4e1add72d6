//! Layers `shape` and `network`: every rank, awkward sizes, and the shapes of real networks.

use bn_core::{DType, Element, Layout};

use super::round_trip::{Fused, Mode, Setup};
use super::{place, problem};
use crate::data::Case;
use crate::shapes::{self, Shape};
use crate::trial::Plan;

/// Every rank from 2 to 6; one sample, one channel, one position; rows just below, at and above the
/// lengths at which a kernel changes its step.
const SHAPES: &[&[usize]] = &[
    &[5, 3],
    &[2, 1],
    &[64, 17],
    &[3, 257],
    &[257, 3],
    &[2, 4, 7],
    &[2, 3, 1031],
    &[1, 4, 5, 5],
    &[7, 1, 3, 3],
    &[2, 5, 1, 1],
    &[1, 130, 9],
    &[3, 63, 2],
    &[3, 64, 4],
    &[3, 65, 2, 2],
    &[2, 17, 7, 7],
    &[2, 8, 16, 16],
    &[2, 3, 2, 3, 3],
    &[2, 2, 2, 3, 2, 2],
];

pub(super) fn all<T: Element>(plan: &mut Plan<T>) {
    for layout in Layout::ALL {
        for shape in SHAPES {
            let problem = problem(shape, layout);
            for (mode, fused) in [
                (Mode::Train, Fused::None),
                (Mode::Train, Fused::AddReluBits),
                (Mode::Eval, Fused::ReluBits),
            ] {
                let setup = Setup { mode, fused, ..Setup::training(problem) };
                let name = format!("shape/{}/{}/{}", place::<T>(layout), dims(shape), setup.name());
                plan.add(name, setup.needs(), move |operations| {
                    setup.check(operations, &Case::new(setup.problem, "shape"))
                });
            }
        }
        for shape in scaled_down::<T>() {
            let problem = shape.problem(layout);
            let setup = Setup { fused: Fused::ReluBits, ..Setup::training(problem) };
            let name = format!("network/{}/{shape}", place::<T>(layout));
            plan.add(name, setup.needs(), move |operations| {
                setup.check(operations, &Case::new(setup.problem, "network"))
            });
        }
    }
}

fn dims(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Each layer's shape once, with so few samples that the whole layer stays quick: at full size the
/// benchmarks run them. Other types than `f32` get those that are small even so.
fn scaled_down<T: Element>() -> Vec<Shape> {
    let (few, most) = match T::DTYPE {
        DType::F32 => (100_000, usize::MAX),
        _ => (50_000, 50_000),
    };
    let mut scaled: Vec<Shape> = Vec::new();
    for shape in shapes::all() {
        let sample = shape.elements() / shape.batch();
        let shape = shape.with_batch((few / sample).clamp(1, 2.max(shape.batch().min(64))));
        if sample <= most && !scaled.iter().any(|other| same_layer(other, &shape)) {
            scaled.push(shape);
        }
    }
    scaled
}

fn same_layer(one: &Shape, other: &Shape) -> bool {
    let sample = |shape: &Shape| shape.dims(Layout::ChannelsFirst)[1..].to_vec();
    one.file == other.file && sample(one) == sample(other)
}
