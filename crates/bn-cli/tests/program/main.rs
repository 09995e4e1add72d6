//! The program as its users meet it: by its arguments, its files, its output and its exit status.

mod bad_input;
mod caffe;
mod files;
mod naive;
mod out_dir;
mod reports;
mod results;

use std::path::Path;

use assert_cmd::Command;

/// The program, started in a directory.
fn bn(dir: &Path) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("bn");
    command.current_dir(dir);
    command
}

/// The program with arguments as one would type them, none of which holds a space.
fn bn_with(dir: &Path, line: &str) -> Command {
    let mut command = bn(dir);
    command.args(line.split_whitespace());
    command
}
