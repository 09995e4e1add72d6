//! Batch normalisation on all cores of a CPU: tiles, rayon, and the same bits for any number of threads.
