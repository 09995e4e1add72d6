//! One layer's forward and backward pass on loaded tensors, on any backend.

mod digits;
mod inputs;
mod loaded;
mod outputs;
mod pass;
mod settings;

pub(crate) use inputs::Inputs;
pub(crate) use loaded::{Loaded, LoadedTensor};
pub(crate) use outputs::{Output, Outputs};
pub(crate) use pass::Pass;
pub(crate) use settings::Settings;
