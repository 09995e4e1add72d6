//! Short rows: 7×7 has three vectors and one value to a row, and going from one row to the next costs as much
//! as two. Strips of them are walked as if they were one row.

mod outputs;
mod sums;

pub(crate) use outputs::run_step;
pub(crate) use sums::SumShort;

use crate::tile::Cut;

/// Rows of at most so many values are short.
pub(crate) const SHORT_ROW: usize = 100;

/// Fewer strips are not worth summing so.
const FEW_STRIPS: usize = 8;

/// Whether the rows of a problem are summed by [`SumShort`]. The problem alone decides.
pub(crate) fn is_short(cut: &Cut) -> bool {
    cut.problem.spatial() <= SHORT_ROW && cut.strips() >= FEW_STRIPS
}
