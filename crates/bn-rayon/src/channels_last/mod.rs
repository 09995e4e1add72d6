//! Tiles of channels-last tensors: rows of one value per channel, so lanes are channels.

mod apply;
mod flat;
mod normalize;
mod sums;
mod table;

pub(crate) use apply::Apply;
pub(crate) use normalize::Normalize;
pub(crate) use sums::{Columns, SumDeviations, SumGradients, add_rows};
pub(crate) use table::{LoadLanes, Table, padded};

use crate::run::Stage;
use crate::simd::Access;

/// A kernel for tiles in which some channels need `f64`: row by row, those apart.
pub(crate) struct RowByRow<K>(pub(crate) K);

/// How many bytes ahead of what is written memory is asked for.
const AHEAD: usize = 4096;

/// Whether the activation bits of consecutive rows follow each other without a gap.
#[inline(always)]
const fn bits_are_dense(channels: usize) -> bool {
    channels.is_multiple_of(8)
}

/// Channels of a row that fit into a stage; a multiple of 64.
fn piece<T>(channels: usize) -> usize {
    channels.min(Stage::BYTES / size_of::<T>())
}

/// A zero of the stored type.
#[expect(non_snake_case, reason = "stands where a constant would, were `Default` const")]
fn T0<A: Access>() -> A::Stored {
    A::Stored::default()
}
