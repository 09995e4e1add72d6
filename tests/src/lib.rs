//! The conformance suite that every batch normalisation backend runs.
