//! Every way in which batch normalisation can be asked wrongly, or cannot be done.

use crate::{DType, Feature, Layout};

/// What went wrong: each variant carries what was found, and its message says what was expected.
///
/// All are found before the first byte of an output is written, but for [`Error::Device`]: a device
/// can fail halfway, and may say so late.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor with fewer than two dimensions.
    #[error("shape {dims:?} has rank {}; {layout} batch normalisation takes rank 2 or more: {}",
        dims.len(), axes(*layout))]
    Rank {
        /// The dimensions found.
        dims: Box<[usize]>,
        /// The layout asked for.
        layout: Layout,
    },
    /// A channel dimension of 0.
    #[error("shape {dims:?} has no channels ({layout}: {}); expected at least 1", axes(*layout))]
    NoChannels {
        /// The dimensions found.
        dims: Box<[usize]>,
        /// The layout asked for.
        layout: Layout,
    },
    /// A batch or spatial dimension of 0: there is nothing to take statistics of.
    #[error("shape {dims:?} holds no values; expected every dimension to be at least 1")]
    EmptyBatch {
        /// The dimensions found.
        dims: Box<[usize]>,
    },
    /// A product of dimensions that cannot be addressed.
    #[error("shape {dims:?} has too many values; expected at most {limit}")]
    SizeOverflow {
        /// The dimensions found.
        dims: Box<[usize]>,
        /// The largest number of values.
        limit: usize,
    },
    /// A number of groups that does not divide the batch.
    #[error("{groups} groups of a batch of {batch}; expected a number from 1 that divides {batch}")]
    Groups {
        /// The number of groups found.
        groups: usize,
        /// The batch.
        batch: usize,
    },
    /// A buffer of the wrong length.
    #[error("{operand} has {found} values; expected {expected} ({extent})")]
    Length {
        /// Which buffer.
        operand: &'static str,
        /// Its length.
        found: usize,
        /// The length that the problem asks for.
        expected: usize,
        /// What that length is made of.
        extent: &'static str,
    },
    /// An eps that is not a positive, finite number.
    #[error("eps is {found}; expected a finite number above 0")]
    Eps {
        /// The value found.
        found: f64,
    },
    /// A momentum outside its range.
    #[error("momentum ({convention}) is {found}; expected {expected}")]
    Momentum {
        /// The convention asked for.
        convention: &'static str,
        /// The value found.
        found: f64,
        /// The range.
        expected: &'static str,
    },
    /// A scale of running statistics that is not finite: Caffe's factor was not a number to divide by.
    #[error("the scale of the running statistics is {found}; expected a finite number")]
    Scale {
        /// The value found.
        found: f64,
    },
    /// Training with one value per channel: its variance is 0 whatever the value, and the unbiased
    /// variance does not exist.
    #[error(
        "one value per channel in training (group {group}): a variance needs at least 2; \
         use fixed statistics, or SingleValue::Allow to take variance 0 and n/(n − 1) as 1"
    )]
    OneValuePerChannel {
        /// The group of the batch it was found in.
        group: usize,
    },
    /// A mask that leaves a group of the batch without any valid position.
    #[error("the mask leaves group {group} without a valid position; expected at least 1")]
    NoValidPositions {
        /// The group of the batch.
        group: usize,
    },
    /// A mask that was made for another problem.
    #[error("the mask was checked for another problem (batch, positions or groups differ)")]
    MaskOfAnotherProblem,
    /// A number of counts that does not fit the groups, or a count of 0.
    #[error("counts {found:?} for {groups} groups; expected one for each, none of them 0")]
    Counts {
        /// The counts found.
        found: Box<[u64]>,
        /// The number of groups.
        groups: usize,
    },
    /// Something this backend does not do.
    #[error("backend {backend} does not support {feature}: {reason}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// What was asked of it.
        feature: Feature,
        /// Why it does not.
        reason: &'static str,
    },
    /// An element type this backend does not compute in.
    #[error("backend {backend} does not compute in {dtype}: {reason}")]
    UnsupportedElement {
        /// The backend's name.
        backend: &'static str,
        /// The element type.
        dtype: DType,
        /// Why it does not.
        reason: String,
    },
    /// A backend that cannot run on this machine or in this build.
    #[error("backend {backend} is unavailable: {reason}")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// Why, in words for a user.
        reason: String,
    },
    /// Memory that could not be had.
    #[error("out of memory: {bytes} bytes could not be allocated")]
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
    },
    /// A failure of the device or of the library behind a backend, in its own words.
    #[error("backend {backend} failed: {message}")]
    Device {
        /// The backend's name.
        backend: &'static str,
        /// What it said.
        message: String,
    },
}

const fn axes(layout: Layout) -> &'static str {
    match layout {
        Layout::ChannelsFirst => "(N, C, spatial…)",
        Layout::ChannelsLast => "(N, spatial…, C)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    #[test]
    fn messages_say_what_was_found_and_what_was_expected() {
        let rank = Problem::new(&[7], Layout::ChannelsLast).unwrap_err();
        assert_eq!(
            rank.to_string(),
            "shape [7] has rank 1; channels-last batch normalisation takes rank 2 or more: \
             (N, spatial…, C)"
        );
        let length =
            Error::Length { operand: "gamma", found: 3, expected: 4, extent: "C, one per channel" };
        assert_eq!(length.to_string(), "gamma has 3 values; expected 4 (C, one per channel)");
    }
}
