//! What can be wrong with a tensor file: what was found, and what was expected.

use std::io;

/// Why a file gives no tensor. The file's name is put in front by whoever knows it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorError {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe, a device.
    #[error("is {found}; expected a regular file")]
    NotAFile { found: &'static str },
    /// Neither name nor content says what it is.
    #[error("is neither .npy nor .safetensors, by its name or its first bytes")]
    UnknownFormat,
    /// Not the first bytes that the format has.
    #[error("is not an .npy file: it begins with {found}; expected \\x93NUMPY")]
    Magic { found: String },
    /// A version of the format that came later.
    #[error("has .npy version {major}.{minor}; expected 1.0, 2.0 or 3.0")]
    Version { major: u8, minor: u8 },
    /// Fewer bytes than the file itself says.
    #[error("is truncated: {part} takes {expected} bytes, {found} are there")]
    Truncated { part: &'static str, found: u64, expected: u64 },
    /// More bytes than the file itself says.
    #[error("has {found} bytes of data; its shape and element type take {expected}")]
    Surplus { found: u64, expected: u64 },
    /// A header longer than any that is meant honestly.
    #[error("has a header of {found} bytes; expected at most {limit}")]
    HeaderTooLong { found: u64, limit: u64 },
    /// A header that does not parse.
    #[error("has a malformed header: {0}")]
    Header(String),
    /// An element type that is none of the four.
    #[error("has element type {found}; expected {expected}")]
    ElementType { found: String, expected: &'static str },
    /// A product of dimensions that no memory holds.
    #[error("has shape {dims:?}, whose size overflows")]
    TooLarge { dims: Vec<usize> },
    /// Memory that could not be had.
    #[error("needs {bytes} bytes of memory, which could not be had")]
    OutOfMemory { bytes: u64 },
    /// A file of tensors without any.
    #[error("holds no tensors")]
    NoTensors,
    /// A name that is not there.
    #[error("holds no tensor {name:?}; it holds {names}")]
    NoSuchTensor { name: String, names: String },
    /// Several tensors, none named after the role.
    #[error("holds {count} tensors, none named {expected}; name one as FILE:NAME of {names}")]
    NoneForRole { count: usize, expected: String, names: String },
    /// Several tensors named after the role.
    #[error("holds {names}, each of which could be meant; name one as FILE:NAME")]
    Ambiguous { names: String },
}
