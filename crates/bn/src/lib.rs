//! Batch normalisation behind one trait: backends by feature flag or at run time, and the layer.
