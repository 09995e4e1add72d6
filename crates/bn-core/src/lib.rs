//! The contract of batch normalisation.
