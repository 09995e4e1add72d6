//! No file that is committed names a folder of the machine that it was written on.

use std::env;

use cargo_metadata::camino::Utf8Path;

use super::Violation;

/// Where home directories lie, cut in two so that this file does not break its own rule.
const HOMES: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
    concat!(r"\Use", r"rs\"),
];

/// The folders of this machine whose names say something: the checkout, home, cargo's own.
///
/// A folder of one component, such as a container's `/src`, is left out: it could be anyone's words.
pub(super) fn of_this_machine(root: &Utf8Path) -> Vec<String> {
    let variables = ["HOME", "USERPROFILE", "CARGO_HOME"];
    let folders = variables.into_iter().filter_map(|name| env::var(name).ok());
    let folders = folders.chain([root.to_string()]);
    folders.filter(|folder| Utf8Path::new(folder).components().count() > 2).collect()
}

/// Lines with an absolute path of this or of any developer's machine.
pub(super) fn check(path: &Utf8Path, text: &str, machine: &[String]) -> Vec<Violation> {
    let patterns = || HOMES.into_iter().chain(machine.iter().map(String::as_str));
    let numbered = text.lines().enumerate();
    let found = numbered.filter_map(|(index, line)| {
        let pattern = patterns().find(|pattern| line.contains(pattern))?;
        Some(Violation::of_line(path, index + 1, format!("`{pattern}` is a path of one machine")))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found_and_others_are_not() {
        let machine = ["/opt/checkout".to_owned()];
        let found = |text: &str| check(Utf8Path::new("a.txt"), text, &machine).len();
        assert_eq!(found("see docs/performance.md and /usr/lib\n"), 0);
        assert_eq!(found("cd /opt/checkout/crates\n"), 1);
        for home in HOMES {
            assert_eq!(found(&format!("one\n{home}someone/x\n")), 1, "{home}");
        }
    }

    #[test]
    fn a_folder_of_one_component_is_no_name() {
        assert!(!of_this_machine(Utf8Path::new("/src")).contains(&"/src".to_owned()));
        assert!(of_this_machine(Utf8Path::new("/a/b")).contains(&"/a/b".to_owned()));
    }
}
