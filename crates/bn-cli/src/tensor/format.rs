//! The two formats, and how a file is known to have one.

use std::ffi::OsStr;
use std::path::Path;

use bn_core::DType;

use super::{npy, safetensors};

/// A format of tensor files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// NumPy's .npy: one array, without a name.
    Npy,
    /// .safetensors: named tensors.
    Safetensors,
}

impl Format {
    /// The extension of its files.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
        }
    }

    /// The format that a file's name tells, if it does.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(OsStr::to_str)?;
        [Self::Npy, Self::Safetensors]
            .into_iter()
            .find(|format| extension.eq_ignore_ascii_case(format.extension()))
    }

    /// The format that a file's first bytes tell, if they do.
    pub(crate) fn of_content(first: &[u8]) -> Option<Self> {
        if first.starts_with(npy::MAGIC) {
            return Some(Self::Npy);
        }
        // Eight bytes of length, then a JSON object.
        (first.get(8) == Some(&b'{')).then_some(Self::Safetensors)
    }

    /// What a file of one tensor begins with; its values follow, little-endian and row-major.
    ///
    /// `None` where the format lacks the element type.
    pub(crate) fn header(self, name: &str, dtype: DType, dims: &[usize]) -> Option<Vec<u8>> {
        match self {
            Self::Npy => npy::header(dtype, dims),
            Self::Safetensors => safetensors::header(name, dtype, dims),
        }
    }
}
