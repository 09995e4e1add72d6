//! The types of values that are candle's and this workspace's alike.

use bn_core::{Element, Scalar};
use candle_core::WithDType;
#[cfg(feature = "cuda")]
use candle_core::cuda::CudaDType as OnDevice;

/// What the devices of this build ask of a value: nothing.
#[cfg(not(feature = "cuda"))]
pub(crate) trait OnDevice {}

#[cfg(not(feature = "cuda"))]
impl<E> OnDevice for E {}

/// A value that a tensor of candle's and a buffer of a backend can hold.
pub(crate) trait Value: Scalar + WithDType + OnDevice {}

impl<E: Scalar + WithDType + OnDevice> Value for E {}

/// An element type of x.
pub(crate) trait CandleElement: Element<Param: Value> + Value {}

impl<T: Element<Param: Value> + Value> CandleElement for T {}
