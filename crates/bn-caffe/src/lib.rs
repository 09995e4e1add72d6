#![forbid(unsafe_code)]
//! Caffe files.
pub mod error;
pub mod limits;
pub mod proto;
pub use error::{BlobProblem, Error, Result};
