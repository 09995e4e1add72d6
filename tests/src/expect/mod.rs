//! What the reference expects of an operation, with the tolerances of [`tolerance`](crate::tolerance).

mod backward;
mod forward;
mod statistics;

pub(crate) use backward::{BackwardInputs, ExpectedGradients};
pub(crate) use forward::{Affine, expected_y};
pub(crate) use statistics::{ExpectedStatistics, expected_m2, expected_running};
