//! `cargo xtask bench --report`: results as one page and as pictures.

mod dots;
mod figures;
mod html;
mod ink;
mod lines;
mod plot;
mod publish;

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::camino::Utf8Path;

pub(super) use self::publish::publish;
use super::peers::Results;

/// Widths of a picture for a desk and for a hand.
const WIDTHS: [u32; 2] = [820, 360];

/// Writes `index.html` and the pictures into a folder.
pub(super) fn write(results: &Results, folder: &Utf8Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{folder} could not be made"))?;
    let mut drawn = Vec::new();
    for figure in figures::of(results) {
        let [wide, narrow] = WIDTHS;
        let pictures = [plot::draw(&*figure.plot, wide)?, plot::draw(&*figure.plot, narrow)?];
        write_file(folder, &format!("{}.svg", figure.name), &ink::alone(&pictures[0]))?;
        drawn.push((figure, pictures.map(|picture| ink::of_page(&picture))));
    }
    write_file(folder, "index.html", &html::page(results, &drawn))
}

fn write_file(folder: &Utf8Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("{path} could not be written"))
}

#[cfg(test)]
mod tests {
    use super::super::peers::samples;
    use super::*;

    #[test]
    fn a_report_is_one_page_and_a_file_for_each_picture() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        write(&samples::results(1.25), folder).unwrap();
        let page = fs::read_to_string(folder.join("index.html")).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        for name in ["ratio-training", "limit-training", "size-training", "error-training"] {
            let picture = fs::read_to_string(folder.join(name).with_extension("svg")).unwrap();
            assert!(picture.starts_with("<svg") && picture.contains("viewBox"), "{picture}");
        }
        assert!(!page.contains("src=") && !page.contains("href=\"http"), "it is self-contained");
    }
}
