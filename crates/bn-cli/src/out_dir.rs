//! The results' files: all of them, or none.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::failure::Failure;
use crate::interrupt;
use crate::layer::Output;
use crate::tensor::Format;

/// Where results will go; checked before anything is computed, and written to only afterwards.
#[derive(Debug)]
pub(crate) struct OutDir {
    dir: PathBuf,
    format: Format,
}

impl OutDir {
    /// Checks that files of these names can go there without harm to anything else.
    pub(crate) fn plan(
        dir: &Path,
        format: Format,
        names: &[&str],
        inputs: &[&Path],
    ) -> Result<Self, Failure> {
        let out_dir = Self { dir: dir.to_path_buf(), format };
        check_dir(dir)?;
        let inputs: Vec<_> =
            inputs.iter().filter_map(|input| fs::canonicalize(input).ok()).collect();
        for name in names {
            let file = out_dir.file(name);
            let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
            let shown = file.display();
            if !metadata.is_file() && !metadata.is_symlink() {
                let message = format!("{shown}: is not a file, and {name} would be written there");
                return Err(Failure::BadInput(message));
            }
            if fs::canonicalize(&file).is_ok_and(|file| inputs.contains(&file)) {
                let message = format!(
                    "{shown}: is an input, and {name} would be written over it; expected another \
                     --out-dir"
                );
                return Err(Failure::BadInput(message));
            }
        }
        Ok(out_dir)
    }

    /// The file of a result.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(self.format.extension())
    }

    /// Writes every result beside its place, and moves them there once all are complete.
    pub(crate) fn write(&self, outputs: &[Output<'_>]) -> Result<(), Failure> {
        let missing: Vec<PathBuf> = self
            .dir
            .ancestors()
            .filter(|dir| !dir.as_os_str().is_empty())
            .take_while(|dir| !dir.exists())
            .map(Path::to_path_buf)
            .collect();
        let written = fs::create_dir_all(&self.dir)
            .map_err(|error| failed(&self.dir, &error))
            .and_then(|()| {
                let written = outputs.iter().map(|output| self.write_one(output));
                commit(written.collect::<Result<_, _>>()?)
            });
        if written.is_err() {
            // Innermost first; one that is not empty is not ours alone, and stays.
            for dir in &missing {
                let _ = fs::remove_dir(dir);
            }
        }
        written
    }

    /// Writes one result to a file that goes away by itself unless it is moved to its place.
    fn write_one(&self, output: &Output<'_>) -> Result<(NamedTempFile, PathBuf), Failure> {
        let place = self.file(output.name);
        let dtype = output.values.dtype();
        let header = self.format.header(output.name, dtype, &output.dims).ok_or_else(|| {
            let format = self.format.extension();
            Failure::Failed(format!("{}: .{format} cannot hold {dtype}", place.display()))
        })?;
        let write = || {
            let mut file = temporary(&self.dir)?;
            file.write_all(&header)?;
            file.write_all(&output.values.little_endian_bytes())?;
            file.flush()?;
            Ok(file)
        };
        let file = write().map_err(|error| failed(&place, &error))?;
        Ok((file, place))
    }
}

/// Checks that `--out-dir` is a directory that files can be made in, or can be made one: by making, and
/// taking away, a file in what is there of it.
pub(crate) fn check_dir(dir: &Path) -> Result<(), Failure> {
    let shown = dir.display();
    let mut there = dir;
    // A link that leads nowhere is there as well, and in the way.
    while fs::symlink_metadata(there).is_err() {
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    if !there.is_dir() {
        let what = if there == dir {
            "is not a directory".to_owned()
        } else {
            format!("{} is not a directory", there.display())
        };
        return Err(Failure::BadInput(format!("--out-dir {shown}: {what}")));
    }
    temporary(there).map(drop).map_err(|error| {
        // The name of the file that was tried says nothing to anyone.
        let reason = error.get_ref().and_then(|inner| inner.source()).map(ToString::to_string);
        let reason = reason.unwrap_or_else(|| error.kind().to_string());
        Failure::BadInput(format!("--out-dir {shown}: no file can be made there: {reason}"))
    })
}

/// An empty file in a directory, with the permissions of any new file.
pub(crate) fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bn-").suffix(".tmp");
    if let Some(permissions) = new_file_permissions() {
        builder.permissions(permissions);
    }
    let mut unfinished = interrupt::hold();
    let file = builder.tempfile_in(dir)?;
    unfinished.push(file.path().to_path_buf());
    Ok(file)
}

/// Moves every file to its place. Where one cannot be moved, those before it are taken back and what
/// they replaced is restored.
pub(crate) fn commit(files: Vec<(NamedTempFile, PathBuf)>) -> Result<(), Failure> {
    let _no_signal = interrupt::hold();
    let mut done: Vec<(PathBuf, Option<TempPath>)> = Vec::new();
    for (file, place) in files {
        let moved = set_aside(&place).and_then(|replaced| {
            done.push((place.clone(), replaced));
            file.persist(&place).map_err(|error| error.error)
        });
        if let Err(error) = moved {
            for (place, replaced) in done.iter().rev() {
                // What fails here cannot be helped; the first error is the one to report.
                let _ = match replaced {
                    Some(replaced) => fs::rename(replaced, place),
                    None => fs::remove_file(place),
                };
            }
            return Err(failed(&place, &error));
        }
    }
    Ok(())
}

/// Moves the file that is there, if there is one, to a name from which it can be restored.
fn set_aside(place: &Path) -> io::Result<Option<TempPath>> {
    if fs::symlink_metadata(place).is_err() {
        return Ok(None);
    }
    let dir = place.parent().unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().prefix(".bn-").suffix(".old").tempfile_in(dir)?;
    let aside = aside.into_temp_path();
    fs::rename(place, &aside)?;
    Ok(Some(aside))
}

pub(crate) fn failed(place: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: cannot be written: {error}", place.display()))
}

/// Temporary files are private by default; results are like any other file. The umask still applies.
#[cfg(unix)]
fn new_file_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn new_file_permissions() -> Option<Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::View;

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    fn output(name: &'static str) -> Output<'static> {
        Output { name, dims: vec![2], values: View::F32(&[1.0, 2.0]) }
    }

    #[test]
    fn a_file_that_cannot_be_moved_takes_the_others_back() {
        let dir = tempfile::tempdir().unwrap();
        let out_dir = OutDir::plan(dir.path(), Format::Npy, &["a", "b", "c"], &[]).unwrap();
        fs::write(out_dir.file("a"), "before").unwrap();
        fs::write(dir.path().join("other"), "untouched").unwrap();
        // Appears between the plan and the writing.
        fs::create_dir(out_dir.file("c")).unwrap();
        fs::write(out_dir.file("c").join("inside"), "").unwrap();

        let files = ["a", "b", "c"].map(|name| out_dir.write_one(&output(name)).unwrap());
        assert!(matches!(commit(files.into()), Err(Failure::Failed(_))));
        assert_eq!(names_in(dir.path()), ["a.npy", "c.npy", "other"]);
        assert_eq!(fs::read(out_dir.file("a")).unwrap(), b"before");
        assert_eq!(names_in(&out_dir.file("c")), ["inside"]);
    }

    #[test]
    fn a_file_that_is_gone_takes_the_others_back() {
        let dir = tempfile::tempdir().unwrap();
        let out_dir = OutDir::plan(dir.path(), Format::Npy, &["a", "b"], &[]).unwrap();
        fs::write(out_dir.file("a"), "before").unwrap();
        let files = ["a", "b"].map(|name| out_dir.write_one(&output(name)).unwrap());
        fs::remove_file(files[1].0.path()).unwrap();
        assert!(matches!(commit(files.into()), Err(Failure::Failed(_))));
        assert_eq!(names_in(dir.path()), ["a.npy"]);
        assert_eq!(fs::read(out_dir.file("a")).unwrap(), b"before");
    }

    #[test]
    fn places_where_no_directory_can_be_are_found_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for place in ["file", "file/below", "file/far/below"] {
            let place = dir.path().join(place);
            let Err(Failure::BadInput(message)) = check_dir(&place) else { panic!("{place:?}") };
            assert!(message.ends_with("is not a directory"), "{message}");
        }
        check_dir(&dir.path().join("new/and/deep")).unwrap();
        assert_eq!(names_in(dir.path()), ["file"]);
    }

    #[test]
    fn directories_are_made_and_on_failure_unmade() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("one/two");
        let out_dir = OutDir::plan(&deep, Format::Npy, &["y"], &[]).unwrap();
        let bf16 = [bn_core::bf16::ONE; 2];
        let unwritable = Output { name: "y", dims: vec![2], values: View::BF16(&bf16) };
        assert!(out_dir.write(&[output("a"), unwritable]).is_err());
        assert_eq!(names_in(dir.path()), [""; 0]);
        out_dir.write(&[output("a")]).unwrap();
        assert_eq!(names_in(&deep), ["a.npy"]);
    }
}
