//! `bn caffe`: Caffe's files.

mod exchange;
mod fold;
mod inspect;
mod results;
mod run;

use bn_caffe::inspect::Warning;

use crate::args::{CaffeArgs, CaffeCommand};
use crate::failure::Failure;

/// Does what was asked of Caffe's files.
pub(crate) fn caffe(args: &CaffeArgs) -> Result<(), Failure> {
    match &args.command {
        CaffeCommand::Inspect(args) => inspect::inspect(args),
        CaffeCommand::Run(args) => run::run(args),
        CaffeCommand::Fold(args) => fold::fold(args),
        CaffeCommand::Export(args) => exchange::export(args),
        CaffeCommand::Import(args) => exchange::import(args),
    }
}

/// A warning as a line; a layer's with its name.
fn line(layer: Option<&str>, warning: &Warning) -> String {
    match layer {
        Some(layer) => format!("warning: {}: {}", plain(layer), plain(&warning.to_string())),
        None => format!("warning: {}", plain(&warning.to_string())),
    }
}

/// A name from a file without what would steer a terminal.
fn plain(name: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    name.chars().map(escaped).collect()
}
