//! Which weights belong to which folder of traces.

use std::path::{Path, PathBuf};

use super::traces;
use crate::bind::Binding;
use crate::error::{Error, Result};
use crate::net::Net;
use crate::weights::Caffemodel;

/// Deepest folder below the given one that is looked into.
const MAX_DEPTH: usize = 4;

/// Most files and folders that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// A real net: its traces and the weights that they were made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Name of the folder of traces.
    pub name: String,
    /// The folder, see [`traces`].
    pub traces: PathBuf,
    /// The weight file.
    pub weights: PathBuf,
}

/// Finds every folder of traces below a directory, and the weights of each.
///
/// A folder with `trunk.prototxt` holds traces. Its weights are the `.caffemodel` of the same name, or
/// the one in a folder of the same name (letters in either case, `-` for `_`), or else the only one
/// whose layers are those of the trunk.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read; [`Error::Oracle`] where there are no traces, or no
/// weights for some.
pub fn find(directory: impl AsRef<Path>) -> Result<Vec<Model>> {
    let directory = directory.as_ref();
    let (mut folders, mut weights, mut entries) = (Vec::new(), Vec::new(), 0);
    walk(directory, 0, &mut entries, &mut |path| match path
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some("trunk.prototxt") => folders.extend(path.parent().map(Path::to_path_buf)),
        Some(name) if name.ends_with(".caffemodel") => weights.push(path.to_path_buf()),
        _ => {}
    })?;
    folders.sort();
    weights.sort();
    if folders.is_empty() {
        let problem = "no folder in it has a trunk.prototxt; expected traces of nets".to_owned();
        return Err(Error::Oracle { place: directory.to_owned(), problem });
    }
    let models = folders.into_iter().map(|folder| {
        let weights = weights_of(&folder, &weights)?;
        Ok(Model { name: name_of(Some(&folder)), weights, traces: folder })
    });
    models.collect()
}

fn walk(
    folder: &Path,
    depth: usize,
    entries: &mut usize,
    found: &mut impl FnMut(&Path),
) -> Result<()> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        *entries += 1;
        if *entries > MAX_ENTRIES {
            let problem = format!("more than {MAX_ENTRIES} files and folders in it");
            return Err(Error::Oracle { place: folder.to_owned(), problem });
        }
        if path.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, entries, found)?;
        } else if path.is_file() {
            found(&path);
        }
    }
    Ok(())
}

fn weights_of(folder: &Path, candidates: &[PathBuf]) -> Result<PathBuf> {
    let name = normalised(&name_of(Some(folder)));
    let by_stem = |path: &&PathBuf| {
        path.file_stem().is_some_and(|stem| normalised(&stem.to_string_lossy()) == name)
    };
    let by_folder = |path: &&PathBuf| normalised(&name_of(path.parent())) == name;
    let trunk = Net::read(folder.join("trunk.prototxt"))?;
    let by_layers =
        |path: &&PathBuf| Caffemodel::read(path).is_ok_and(|weights| fits(&trunk, &weights));
    only(candidates.iter().filter(by_stem))
        .or_else(|| only(candidates.iter().filter(by_folder)))
        .or_else(|| only(candidates.iter().filter(by_layers)))
        .cloned()
        .ok_or_else(|| Error::Oracle {
            place: folder.to_owned(),
            problem: format!(
                "none of {} .caffemodel files is the one; expected one of its name, or a single one \
                 with its layers",
                candidates.len()
            ),
        })
}

/// Whether every traced layer has weights in the file.
fn fits(trunk: &Net, weights: &Caffemodel) -> bool {
    Binding::new(trunk, weights).is_ok_and(|binding| {
        let traced = trunk.layers.iter().map(|layer| traces::is_traced(layer.type_name()));
        traced.zip(&binding.layers).all(|(traced, found)| !traced || found.is_some())
    })
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    if items.next().is_some() { None } else { first }
}

fn name_of(path: Option<&Path>) -> String {
    let name = path.and_then(Path::file_name);
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn normalised(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}
