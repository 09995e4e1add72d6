//! Layers in safetensors files, under PyTorch's names.
//!
//! | tensor | shape | element type written | read |
//! |---|---|---|---|
//! | `weight` | (C) | that of the parameters: f32, or f64 for an f64 layer | gamma |
//! | `bias` | (C) | the same | beta |
//! | `running_mean` | (C) | the same | the running mean |
//! | `running_var` | (C) | the same | the running variance |
//! | `num_batches_tracked` | () | i64 | the number of batches seen |
//!
//! A layer has those that it was built with, each behind a prefix such as `layer1.0.bn1.`, so that one
//! file holds many layers, and other tensors between them. Reading checks all of a layer's tensors
//! before it changes the layer, and each tensor's name, shape, element type and values:
//!
//! - f16, bf16 and f32 become f32 or f64 exactly; an f64 file fills an f32 layer only where each value
//!   is an f32, and is refused where it would be rounded;
//! - a tensor that the layer should have and one that it was built without are both errors: a weight
//!   that is left unread would be a silent change of the network;
//! - a running variance that is negative or not finite is refused, and so is a mean that is not finite;
//! - without `num_batches_tracked`, as in files of PyTorch before 0.4.1, 0 batches have been seen, except
//!   for a cumulative average, which cannot go on without.
//!
//! Caffe's sums are written as averages, which is what the names mean, and are read back as sums of
//! factor 1: evaluation is the same (to rounding), and the weight of what was seen starts anew.
//!
//! ```
//! use bn::{BatchNorm, Layout, checkpoint};
//! use std::io::Cursor;
//!
//! let layer = || BatchNorm::<f32>::builder(64, Layout::ChannelsFirst).build();
//! let (first, second) = (layer()?, layer()?);
//! let mut writer = checkpoint::Writer::new();
//! writer.add("layer1.0.bn1.", &first)?;
//! writer.add("layer1.0.bn2.", &second)?;
//! let bytes = writer.to_bytes()?;
//!
//! let mut restored = layer()?;
//! checkpoint::Reader::new(Cursor::new(bytes))?.restore("layer1.0.bn2.", &mut restored)?;
//! assert_eq!(restored.running(), second.running());
//! # Ok::<(), bn::Error>(())
//! ```

use std::path::Path;

use bn_core::Element;

use crate::{BatchNorm, Error};

mod reader;
mod values;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const RUNNING_MEAN: &str = "running_mean";
const RUNNING_VAR: &str = "running_var";
const BATCHES: &str = "num_batches_tracked";

impl<T: Element, B: ?Sized> BatchNorm<T, B> {
    /// Writes the layer alone to a safetensors file, without a prefix; see [`checkpoint`](self).
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Statistic`] where a NaN has entered the running statistics, which no
    /// reader would take. A file that was there before is then untouched.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut writer = Writer::new();
        writer.add("", self)?;
        writer.save(path)
    }

    /// Reads the layer from a safetensors file, without a prefix; see [`checkpoint`](self).
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::NotSafetensors`], [`Error::Tensor`]. The layer is then what it was.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        Reader::open(path)?.restore("", self)
    }
}
