//! Where a tensor comes from: a file, and in a file of several tensors a name.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Format, Role, Tensor, TensorError, npy, safetensors};

/// A tensor argument: `x.npy`, `model.safetensors` or `model.safetensors:bn1.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    path: PathBuf,
    /// Only ever behind a path that ends in .safetensors.
    name: Option<String>,
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MARK: &str = ".safetensors:";
        // A file that really has a colon in its name is meant as such.
        let named = text.rfind(MARK).filter(|_| !Path::new(text).exists());
        Ok(match named {
            Some(at) => {
                let (path, name) = (&text[..at + MARK.len() - 1], &text[at + MARK.len()..]);
                Self { path: path.into(), name: Some(name.into()) }
            }
            None => Self { path: text.into(), name: None },
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

impl Source {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the tensor, which the file may keep under the name of its role.
    pub(crate) fn read(&self, role: Role) -> Result<(Tensor, Format), TensorError> {
        // Asked of the path, before it is opened: opening a pipe would wait for a writer.
        regular(&fs::metadata(&self.path)?)?;
        let mut file = File::open(&self.path)?;
        let len = file.metadata()?.len();
        let format = match Format::of_name(&self.path) {
            Some(format) => format,
            None => sniff(&mut file)?,
        };
        let tensor = read(&mut BufReader::new(file), len, format, self.name.as_deref(), role)?;
        Ok((tensor, format))
    }
}

/// Reads a tensor from a file's bytes in memory.
pub(crate) fn read_bytes(bytes: &[u8], format: Format, role: Role) -> Result<Tensor, TensorError> {
    read(&mut Cursor::new(bytes), bytes.len() as u64, format, None, role)
}

fn read(
    reader: &mut (impl Read + Seek),
    len: u64,
    format: Format,
    name: Option<&str>,
    role: Role,
) -> Result<Tensor, TensorError> {
    match format {
        Format::Npy => npy::read(reader, len),
        Format::Safetensors => safetensors::read(reader, len, name, role),
    }
}

fn regular(metadata: &fs::Metadata) -> Result<(), TensorError> {
    if metadata.is_file() {
        return Ok(());
    }
    let found = if metadata.is_dir() { "a directory" } else { "a pipe or device" };
    Err(TensorError::NotAFile { found })
}

fn sniff(file: &mut File) -> Result<Format, TensorError> {
    let mut first = Vec::new();
    Read::by_ref(file).take(9).read_to_end(&mut first)?;
    file.seek(io::SeekFrom::Start(0))?;
    Format::of_content(&first).ok_or(TensorError::UnknownFormat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_the_file_it_is_in() {
        let parse = |text: &str| {
            let Ok(source) = text.parse::<Source>();
            (source.path.to_str().unwrap().to_owned(), source.name)
        };
        assert_eq!(parse("a/x.npy"), ("a/x.npy".into(), None));
        assert_eq!(parse("C:\\x.npy"), ("C:\\x.npy".into(), None));
        assert_eq!(parse("m.safetensors"), ("m.safetensors".into(), None));
        assert_eq!(
            parse("m.safetensors:bn1.weight"),
            ("m.safetensors".into(), Some("bn1.weight".into()))
        );
        assert_eq!(parse("m.safetensors:a:b"), ("m.safetensors".into(), Some("a:b".into())));
    }
}
