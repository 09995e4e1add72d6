//! The contract of batch normalisation.
#![forbid(unsafe_code)]

mod backend;
mod capability;
mod compose;
mod element;
mod epilogue;
mod error;
mod mask;
mod memory;
mod mode;
mod moments;
mod problem;
mod request;
mod running;
mod staged;

pub use backend::{Backend, BatchNormBackend, HostBackend};
pub use capability::{Capabilities, Device, Feature};
pub use compose::{merge_groups, moments_of, parameter_gradient};
pub use element::{DType, Element, Scalar};
pub use epilogue::{Epilogue, Gate, passes, relu};
pub use error::Error;
pub use half::{bf16, f16};
pub use mask::{Counts, ValidPositions};
pub use memory::{HostMemory, Memory};
pub use mode::{Dependence, Mode, SingleValue, Statistics, Tracking};
pub use moments::{ChannelMoments, inv_std};
pub use problem::{Layout, Problem};
pub use request::{
    Backward, BackwardApply, BackwardReduce, Checked, Correction, FixedStatistics,
    ForwardInference, ForwardTraining, InOut, Moments, Normalize, Request, RunningMut, Saved,
    SavedMut,
};
pub use running::{Blend, Momentum, RunningVariance, Seen, update_running};
pub use staged::Staged;
