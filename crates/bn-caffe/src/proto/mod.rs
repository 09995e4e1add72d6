//! Caffe's messages: their encoding, their schema, and their fields kept raw for rewriting.
//!
//! - [`wire`] walks encoded fields, known or not, with every length checked;
//! - [`schema`] are the messages this crate understands, as prost structs;
//! - [`raw`] takes a message apart for an edit that leaves all other fields as they were;
//! - [`layer_type`] translates the numbered layer types of old files.

pub mod layer_type;
pub mod raw;
pub mod schema;
pub mod wire;
