//! What a backend can do, as plain data, and how it refuses the rest.

use core::fmt;

use crate::{Error, Layout};

/// Something that an operation may ask of a backend and that a backend may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Tensors of layout `(N, C, spatial…)`.
    ChannelsFirst,
    /// Tensors of layout `(N, spatial…, C)`.
    ChannelsLast,
    /// Writing y over x, or dx over dy.
    InPlace,
    /// A fused ReLU, forward and backward.
    Relu,
    /// A fused residual add and ReLU, forward and backward.
    AddRelu,
    /// The one-bit record of what the ReLU let through, written by forward and read by backward.
    ActivationBits,
    /// Backward from x̂ where forward has destroyed x.
    Normalized,
    /// Groups of the batch with statistics of their own.
    Groups,
    /// A mask of valid positions.
    Mask,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 9] = [
        Self::ChannelsFirst,
        Self::ChannelsLast,
        Self::InPlace,
        Self::Relu,
        Self::AddRelu,
        Self::ActivationBits,
        Self::Normalized,
        Self::Groups,
        Self::Mask,
    ];

    /// The feature in a few words, as tables and messages show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChannelsFirst => "channels-first",
            Self::ChannelsLast => "channels-last",
            Self::InPlace => "in place",
            Self::Relu => "ReLU",
            Self::AddRelu => "add + ReLU",
            Self::ActivationBits => "activation bits",
            Self::Normalized => "backward from the normalised value",
            Self::Groups => "groups of the batch",
            Self::Mask => "mask of valid positions",
        }
    }
}

impl From<Layout> for Feature {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::ChannelsFirst => Self::ChannelsFirst,
            Layout::ChannelsLast => Self::ChannelsLast,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a backend supports; where it does not, why.
///
/// ```
/// use bn_core::{Capabilities, Feature};
///
/// const CAPABILITIES: Capabilities =
///     Capabilities::ALL.without(Feature::Mask, "the library underneath has no masked sums");
/// assert!(CAPABILITIES.supports(Feature::Groups));
/// assert_eq!(CAPABILITIES.refusal(Feature::Mask), Some("the library underneath has no masked sums"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    refusals: [Option<&'static str>; Feature::ALL.len()],
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self { refusals: [None; Feature::ALL.len()] };

    /// The same, less one feature, for this reason.
    #[must_use]
    pub const fn without(mut self, feature: Feature, reason: &'static str) -> Self {
        self.refusals[feature as usize] = Some(reason);
        self
    }

    /// The same with one feature more.
    #[must_use]
    pub const fn with(mut self, feature: Feature) -> Self {
        self.refusals[feature as usize] = None;
        self
    }

    /// Whether the feature is there.
    #[must_use]
    pub const fn supports(&self, feature: Feature) -> bool {
        self.refusals[feature as usize].is_none()
    }

    /// Why the feature is not there; `None` where it is.
    #[must_use]
    pub const fn refusal(&self, feature: Feature) -> Option<&'static str> {
        self.refusals[feature as usize]
    }

    /// Refuses, in the name of `backend`, the first needed feature that is not there.
    ///
    /// A backend that lacks a feature calls this first in each operation it implements, with
    /// [`Request::needs`](crate::Request::needs).
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn admit(
        &self,
        backend: &'static str,
        needs: impl IntoIterator<Item = Feature>,
    ) -> Result<(), Error> {
        needs.into_iter().try_for_each(|feature| match self.refusal(feature) {
            None => Ok(()),
            Some(reason) => Err(Error::Unsupported { backend, feature, reason }),
        })
    }
}

/// What a backend runs on: shown to people, never parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device in words: `CPU, 8 threads`, `NVIDIA H200`.
    pub label: String,
    /// The instruction set or architecture of its kernels: `AVX-512`, `sm_90`.
    pub instruction_set: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_index_their_own_place() {
        for (index, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, index);
        }
    }

    #[test]
    fn a_refusal_names_backend_feature_and_reason() {
        let capabilities = Capabilities::ALL.without(Feature::Groups, "not built yet");
        assert_eq!(capabilities.admit("toy", [Feature::Relu]), Ok(()));
        assert_eq!(
            capabilities.admit("toy", [Feature::Relu, Feature::Groups]).unwrap_err().to_string(),
            "backend toy does not support groups of the batch: not built yet"
        );
    }
}
