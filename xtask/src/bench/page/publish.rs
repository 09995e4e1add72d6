//! The pictures that README shows, with a page that says what they rest on.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};
use cargo_metadata::camino::Utf8Path;

use super::{WIDTHS, figures, html, ink, plot, write_file};
use crate::bench::peers::{Results, means};

/// The most telling ones, by the names of their files.
const SHOWN: [&str; 2] = ["ratio-training", "error-training"];

/// Writes the pictures and `README.md` into a folder.
pub(in crate::bench) fn publish(results: &Results, folder: &Utf8Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{folder} could not be made"))?;
    let mut figures = figures::of(results);
    figures.retain(|figure| SHOWN.contains(&figure.name.as_str()));
    ensure!(figures.len() == SHOWN.len(), "these pictures are made of a run with --sweep");
    for figure in &figures {
        let picture = ink::alone(&plot::draw(&*figure.plot, WIDTHS[0])?);
        write_file(folder, &format!("{}.svg", figure.name), &picture)?;
    }
    write_file(folder, "README.md", &page(results, &figures)?)
}

fn page(results: &Results, figures: &[figures::Figure]) -> Result<String> {
    let mut text = String::from(
        "# What the pictures of the front page rest on\n\n\
         Written by `cargo xtask bench --peers --sweep --report --publish`; \
         [comparison.md](../comparison.md) says how to read and repeat it.\n\n\
         | | |\n|---|---|\n",
    );
    for (name, value) in html::facts(results) {
        writeln!(text, "| {name} | {value} |")?;
    }
    for contender in results.contenders.iter().filter(|one| one.left_out.is_none()) {
        let name = contender.name.as_deref().unwrap_or_default();
        let version = contender.version.as_deref().unwrap_or_default();
        writeln!(text, "| `{}` | {name} {version} |", contender.key)?;
    }
    write!(text, "\n```text\n{}```\n", means::Means(results))?;
    for figure in figures {
        let (name, title) = (&figure.name, &figure.title);
        write!(text, "\n![{title}]({name}.svg)\n\n{title}. {}\n", figure.explanation)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::super::peers::samples;
    use super::*;

    #[test]
    fn pictures_come_with_what_they_rest_on() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        publish(&samples::results(1.25), folder).unwrap();
        let text = fs::read_to_string(folder.join("README.md")).unwrap();
        for part in ["| Revision | abc |", "| `fast` | fast 1.0 |", "1.60"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(SHOWN.iter().all(|name| folder.join(name).with_extension("svg").exists()));
    }

    #[test]
    fn without_a_sweep_there_is_nothing_to_publish() {
        let mut results = samples::results(1.25);
        results.accuracy.clear();
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        assert!(publish(&results, folder).unwrap_err().to_string().contains("--sweep"));
    }
}
