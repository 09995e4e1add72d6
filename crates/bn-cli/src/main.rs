//! The program bn: run, compare and inspect batch normalisation on files.
fn main() {}
