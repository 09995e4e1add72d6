//! What is said about results: summaries, differences, speeds, and the tables they stand in.

mod difference;
mod number;
mod speed;
mod summary;
mod table;

pub(crate) use difference::Difference;
pub(crate) use number::{number, shape};
pub(crate) use speed::{Direction, Speed, least_bytes, median};
pub(crate) use summary::Summary;
pub(crate) use table::{paragraph, print_json, table, write_out};
