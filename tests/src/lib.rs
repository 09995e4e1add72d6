//! The conformance suite that every batch normalisation backend runs.
#![forbid(unsafe_code)]

pub mod shapes;
