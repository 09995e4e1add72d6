//! Reads a file whole, no further than a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The bytes of a regular file.
///
/// A device or pipe is refused before it is opened: it has no end, or none yet.
///
/// # Errors
/// [`Error::Io`]; [`Error::WrongKind`] and [`Error::TooLarge`] inside [`Error::InFile`].
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a pipe or device" };
        return Err(Error::WrongKind { found, expected: "a regular file" }.in_file(path));
    }
    let too_large =
        |found| Error::TooLarge { place: "file".into(), what: "bytes", found, limit }.in_file(path);
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // It may have grown since it was measured.
    File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}
