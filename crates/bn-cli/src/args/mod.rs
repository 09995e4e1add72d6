//! The command line.

mod caffe;
mod layer;
mod tensors;

pub(crate) use caffe::{
    CaffeArgs, CaffeCommand, CaffeRunArgs, ExportArgs, FoldArgs, ImportArgs, InspectArgs, Named,
    NumericsArg, PhaseArg,
};
pub(crate) use layer::{EpilogueKind, LayerArgs, ModeArg};
pub(crate) use tensors::OtherTensors;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::failure::Failure;
use crate::tensor::Source;

/// Batch normalisation of tensors in files, forward and backward, on every backend.
#[derive(Debug, Parser)]
#[command(
    name = "bn",
    version,
    after_help = "Exit status: 0 done, 2 bad input, 1 anything else that failed."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Backends(BackendsArgs),
    Run(Box<RunArgs>),
    Compare(Box<CompareArgs>),
    Caffe(CaffeArgs),
}

/// List the backends: which are available here, what they run on, what they compute in.
#[derive(Debug, Args)]
pub(crate) struct BackendsArgs {
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Normalise a tensor, and with --dy go backward too; write every result to a file.
#[derive(Debug, Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// The input: N×C×… or, with --layout channels-last, N×…×C. Any rank from 2.
    #[arg(long, value_name = "FILE")]
    pub(crate) x: Source,
    /// The backend: a name that `bn backends` lists, or auto for the fastest that is available.
    #[arg(long, value_name = "NAME|auto", default_value = "auto")]
    pub(crate) backend: String,
    /// Threads for backends that use several; as many as the machine runs at once by default. The
    /// results are the same bits for any number.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where the results go. Made if missing; files of the results' names are replaced, nothing else
    /// is touched.
    #[arg(long, value_name = "DIR", default_value = "bn-out")]
    pub(crate) out_dir: PathBuf,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) others: OtherTensors,
    #[command(flatten)]
    pub(crate) layer: LayerArgs,
}

/// Run the same input on every available backend and compare each with f64 arithmetic.
///
/// Without arguments the input is what a network trained on handwritten digits gave its second
/// batch normalisation in one training step, gradients included; it is part of the program.
#[derive(Debug, Args)]
#[command(after_long_help = COMPARE_HELP)]
pub(crate) struct CompareArgs {
    /// The input; the activations that ship with the program by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) x: Option<Source>,
    /// Threads for backends that use several; as many as the machine runs at once by default.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) others: OtherTensors,
    #[command(flatten)]
    pub(crate) layer: LayerArgs,
}

const RUN_HELP: &str = "\
Files:
  Files are .npy (f32, f64, f16; either element order, either byte order) or
  .safetensors (f32, f64, f16, bf16). Of a .safetensors file with several
  tensors the one named after the option is taken (x, dy, gamma or weight, beta
  or bias, running_mean, running_var, residual), or the one in FILE:NAME.
  dy and the residual have the shape and element type of x. gamma, beta and the
  running statistics have one value per channel, of any of the four types; they
  are computed with as f64 where x is f64, and as f32 elsewhere.

Results, in the format of x:
  y                             the element type of x
  dx, dgamma, dbeta             with --dy; the last two as f32, or f64 for f64
  dresidual                     with --dy and --epilogue add-relu
  running_mean, running_var     updated; with --mode train, where given
  save_mean, save_inv_std       mean and 1/sqrt(var + eps) of the batch, as f64;
                                with --mode train
  All are computed before the first is written, and none is left behind if one
  cannot be written.

Modes:
  train normalises with the mean and variance of the batch, and backward goes
  through them. eval normalises with the running statistics, and backward takes
  them as fixed: dx = gamma·dy/sqrt(var + eps), the gradient of a frozen layer.

Examples:
  bn run --x x.npy
  bn run --x x.npy --dy dy.npy --gamma g.npy --beta b.npy --out-dir step1
  bn run --x act.safetensors:conv1 --running-mean m.npy --running-var v.npy \\
         --mode eval --json
  bn run --x x.npy --running-mean m.npy --running-var v.npy --momentum 0.99 \\
         --momentum-convention old --running-variance biased    as Keras does";

const COMPARE_HELP: &str = "\
The reference is the backend naive run in f64 on the same values widened to
f64: the formulas as plain loops. A difference of up to about half an ulp is
nothing but the rounding of the result to its type.

Examples:
  bn compare
  bn compare --epilogue relu --mode eval
  bn compare --x x.npy --dy dy.npy --layout channels-last --json";

/// Parses the command line. Help and version are printed by clap, which ends the program.
pub(crate) fn parse() -> Result<Cli, Failure> {
    Cli::try_parse().map_err(|error| {
        if error.use_stderr() && !shows_help(&error) {
            Failure::BadInput(usage_in_one_line(&error))
        } else {
            error.exit()
        }
    })
}

fn shows_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// clap's message without its usage summary, as one line.
fn usage_in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let words: Vec<&str> = text[..end].split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_usage_error_is_one_line() {
        for line in ["bn run", "bn run --x", "bn rnu", "bn run --x a --mode fast", "bn compare --y"]
        {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            let message = usage_in_one_line(&error);
            assert!(!message.contains('\n') && message.ends_with("(see --help)"), "{message}");
        }
    }
}
