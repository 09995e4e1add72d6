//! The layer against the contract's operations, in every mode and convention.

mod arrays;
mod conventions;
mod data;
mod in_place;
mod modes;
mod refusals;
mod requests;
