#![forbid(unsafe_code)]
//! Caffe files.
pub mod blob;
pub mod error;
pub mod limits;
pub mod net;
pub mod proto;
pub mod text;
pub mod weights;
pub use error::{BlobProblem, Error, Result};
