//! Which cores a runner is pinned to.

use std::fs;
use std::process::{Command, Stdio};

/// The program in front of a runner's command and its arguments: `taskset --cpu-list 0,1`.
///
/// Empty where there is no such program or the machine has fewer cores. The last of the cores that
/// this process may use are taken: the first ones also serve interrupts.
pub(super) fn prefix(threads: usize) -> Vec<String> {
    let cores = allowed_cores();
    if cores.len() < threads || !is_there() {
        return Vec::new();
    }
    let chosen = cores[cores.len() - threads..].iter().map(ToString::to_string);
    let list = chosen.collect::<Vec<_>>().join(",");
    ["taskset", "--cpu-list", &list].map(str::to_owned).to_vec()
}

fn is_there() -> bool {
    let mut command = Command::new("taskset");
    let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map(parse).unwrap_or_default()
}

/// `0-3,8` as numbers.
fn parse(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_read() {
        assert_eq!(parse("\t0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse("5"), [5]);
        assert_eq!(parse(""), [0; 0]);
    }

    #[test]
    fn no_machine_has_so_many_cores() {
        assert_eq!(prefix(1 << 20), [""; 0]);
    }
}
