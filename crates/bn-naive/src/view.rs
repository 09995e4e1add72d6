//! Slices seen as the derivation indexes them: by sample, channel and position, in either layout.

use bn_core::{InOut, Layout, Problem, Scalar};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, ShapeBuilder, StrideShape};

/// The shape (N, C, S), with the strides that the layout gives it.
fn shape(problem: &Problem) -> StrideShape<ndarray::Ix3> {
    let (n, c, s) = (problem.batch(), problem.channels(), problem.spatial());
    let strides = match problem.layout() {
        Layout::ChannelsFirst => (c * s, s, 1),
        Layout::ChannelsLast => (s * c, 1, c),
    };
    (n, c, s).strides(strides)
}

/// A tensor, indexed by (n, c, s).
pub(crate) fn tensor<'a, E: Scalar>(problem: &Problem, slice: &'a [E]) -> ArrayView3<'a, E> {
    ArrayView3::from_shape(shape(problem), slice).expect("a checked request has N·C·S values")
}

/// A tensor to write, indexed by (n, c, s).
pub(crate) fn tensor_mut<'a, E: Scalar>(
    problem: &Problem,
    slice: &'a mut [E],
) -> ArrayViewMut3<'a, E> {
    ArrayViewMut3::from_shape(shape(problem), slice).expect("a checked request has N·C·S values")
}

/// One channel of one group of a tensor, indexed by (n within the group, s).
pub(crate) fn channel<'a, E: Scalar>(
    problem: &Problem,
    slice: &'a [E],
    (group, c): (usize, usize),
) -> ArrayView2<'a, E> {
    let samples = problem.group_batch();
    let range = group * samples..(group + 1) * samples;
    let mut view = tensor(problem, slice);
    view.slice_axis_inplace(Axis(0), range.into());
    view.index_axis_move(Axis(1), c)
}

/// Replaces every value by a function of it and its index, in place or out of place.
pub(crate) fn map<E: Scalar>(
    problem: &Problem,
    io: InOut<'_, [E]>,
    mut function: impl FnMut((usize, usize, usize), E) -> E,
) {
    match io {
        InOut::Separate { input, output } => {
            let input = tensor(problem, input);
            for (index, value) in tensor_mut(problem, output).indexed_iter_mut() {
                *value = function(index, input[index]);
            }
        }
        InOut::InPlace(buffer) => {
            for (index, value) in tensor_mut(problem, buffer).indexed_iter_mut() {
                *value = function(index, *value);
            }
        }
    }
}
