//! The tasks of this workspace: ci, conformance, bench.
fn main() {}
