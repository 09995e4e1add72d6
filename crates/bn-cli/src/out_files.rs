//! Files at places that the user names: all of them, or none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::out_dir::{commit, failed, temporary};

/// Checks that files can go to these places, each named by its option, without harm to an input.
pub(crate) fn plan(places: &[(&str, &Path)], inputs: &[&Path]) -> Result<(), Failure> {
    let inputs: Vec<_> = inputs.iter().filter_map(|input| fs::canonicalize(input).ok()).collect();
    for (index, (option, place)) in places.iter().enumerate() {
        let wrong =
            |what: &str| Err(Failure::BadInput(format!("{option} {}: {what}", place.display())));
        if !folder(place).is_dir() {
            return wrong("the folder is not there");
        }
        if place.file_name().is_none() || place.is_dir() {
            return wrong("is a folder; expected the name of a file");
        }
        if fs::metadata(place).is_ok_and(|metadata| !metadata.is_file()) {
            return wrong("is not a regular file");
        }
        if fs::canonicalize(place).is_ok_and(|place| inputs.contains(&place)) {
            return wrong("is an input, which would be overwritten; expected another file");
        }
        // Two names may be one file that is not there yet.
        let here = |place: &Path| {
            let folder = fs::canonicalize(folder(place)).unwrap_or_default();
            folder.join(place.file_name().unwrap_or_default())
        };
        if places[..index].iter().any(|(_, other)| here(other) == here(place)) {
            return wrong("is the place of two results; expected different files");
        }
    }
    Ok(())
}

/// Writes every file beside its place, and moves them there once all are complete.
pub(crate) fn write(files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), Failure> {
    let beside = files.into_iter().map(|(place, bytes)| {
        let written = temporary(folder(&place)).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.flush()?;
            Ok(file)
        });
        match written {
            Ok(file) => Ok((file, place)),
            Err(error) => Err(failed(&place, &error)),
        }
    });
    commit(beside.collect::<Result<_, _>>()?)
}

/// Writes files into a folder, which is made where it is missing and taken away on failure.
pub(crate) fn write_into(dir: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), Failure> {
    let missing: Vec<PathBuf> = dir
        .ancestors()
        .filter(|dir| !dir.as_os_str().is_empty())
        .take_while(|dir| !dir.exists())
        .map(Path::to_path_buf)
        .collect();
    let written =
        fs::create_dir_all(dir).map_err(|error| failed(dir, &error)).and_then(|()| write(files));
    if written.is_err() {
        for dir in &missing {
            let _ = fs::remove_dir(dir);
        }
    }
    written
}

fn folder(place: &Path) -> &Path {
    match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
