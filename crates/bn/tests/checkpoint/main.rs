//! Files: what is written, what is read back, and what is refused.

mod hostile;
mod layers;
mod round_trip;
