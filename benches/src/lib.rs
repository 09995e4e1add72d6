//! Benchmarks of the batch normalisation backends over real network shapes.
