//! The conformance suite that every batch normalisation backend runs.
#![forbid(unsafe_code)]

mod call;
mod compare;
mod data;
mod expect;
mod place;
pub mod reference;
pub mod shapes;
pub mod tolerance;
