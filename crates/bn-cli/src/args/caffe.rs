//! The options of `bn caffe`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use bn_caffe::proto::schema::Phase;
use clap::{Args, Subcommand, ValueEnum};

use crate::tensor::Source;

/// Caffe's files: look into them, run, fold and convert their batch normalisation.
#[derive(Debug, Args)]
pub(crate) struct CaffeArgs {
    #[command(subcommand)]
    pub(crate) command: CaffeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaffeCommand {
    Inspect(InspectArgs),
    Run(Box<CaffeRunArgs>),
    Fold(FoldArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// List every layer; of BatchNorm, Scale and Bias what they hold, and what looks wrong.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Weights (.caffemodel or .caffemodel.h5), or a net (.prototxt) alone.
    pub(crate) file: PathBuf,
    /// The net that the weights are for; without it the layers are those of the weight file.
    #[arg(long, value_name = "FILE")]
    pub(crate) prototxt: Option<PathBuf>,
    /// The phase whose layers are listed.
    #[arg(long, value_enum, default_value_t = PhaseArg::Test)]
    pub(crate) phase: PhaseArg,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run a net of Input, BatchNorm, Scale, Bias, ReLU and Eltwise sums; write every blob to a file.
#[derive(Debug, Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct CaffeRunArgs {
    /// The net.
    #[arg(long, value_name = "FILE")]
    pub(crate) prototxt: PathBuf,
    /// Its weights; without them blobs start as their fillers say.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// The phase: which layers there are, and where a layer does not say whose statistics normalise.
    #[arg(long, value_enum)]
    pub(crate) phase: PhaseArg,
    /// Values of an input blob, all of f32 or all of f64. Once for each input.
    #[arg(long, value_name = "BLOB=FILE", required = true)]
    pub(crate) input: Vec<Named>,
    /// The gradient of an output blob: go backward too. May be given several times.
    #[arg(long, value_name = "BLOB=FILE")]
    pub(crate) top_diff: Vec<Named>,
    /// exact: the roundings of Caffe's CPU code; fast: a backend, BatchNorm and Scale in one pass.
    #[arg(long, value_enum, default_value_t = NumericsArg::Exact)]
    pub(crate) numerics: NumericsArg,
    /// The backend of --numerics fast: a name that `bn backends` lists, or auto, the default.
    #[arg(long, value_name = "NAME|auto")]
    pub(crate) backend: Option<String>,
    /// Threads for backends that use several; as many as the machine runs at once by default.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where the results go. Made if missing.
    #[arg(long, value_name = "DIR", default_value = "bn-out")]
    pub(crate) out_dir: PathBuf,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

const RUN_HELP: &str = "\
Results:
  BLOB.npy              each blob, as it is after the last layer that wrote it
  BLOB.diff.npy         its gradient, with --top-diff; where layers work in place,
                        the one before the first of them, as in Caffe
  LAYER.N.diff.npy      the gradient of blob N of a Scale or Bias
  weights.caffemodel    with --phase train: the weights with updated statistics
  Characters of names that files cannot have become _.

Example:
  bn caffe run --prototxt bn.prototxt --weights bn.caffemodel --phase train \\
               --input data=x.npy --top-diff bn=dy.npy --out-dir step1";

/// Merge BatchNorm, Scale and Bias into the layers beside them; what cannot be is left, and why said.
#[derive(Debug, Args)]
pub(crate) struct FoldArgs {
    /// The net.
    #[arg(long, value_name = "FILE")]
    pub(crate) prototxt: PathBuf,
    /// Its weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// Where the folded net goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out_prototxt: PathBuf,
    /// Where its weights go.
    #[arg(long, value_name = "FILE")]
    pub(crate) out_weights: PathBuf,
    /// Print one JSON document instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write each BatchNorm with its Scale as weight, bias, running_mean, running_var and eps.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The net.
    #[arg(long, value_name = "FILE")]
    pub(crate) prototxt: PathBuf,
    /// Its weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// The .safetensors file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Put what export wrote, changed elsewhere, back into weights.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The net.
    #[arg(long, value_name = "FILE")]
    pub(crate) prototxt: PathBuf,
    /// The weights that get other values; the file itself is not changed.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// The .safetensors file.
    #[arg(long = "from", value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Where the weights go.
    #[arg(long, value_name = "FILE")]
    pub(crate) out_weights: PathBuf,
    /// Print one JSON document instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A phase of a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PhaseArg {
    /// The batch's statistics normalise unless a layer says otherwise.
    Train,
    /// The stored statistics do.
    Test,
}

impl PhaseArg {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl From<PhaseArg> for Phase {
    fn from(phase: PhaseArg) -> Self {
        match phase {
            PhaseArg::Train => Self::Train,
            PhaseArg::Test => Self::Test,
        }
    }
}

/// In which arithmetic a net runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumericsArg {
    /// Caffe's own roundings.
    Exact,
    /// A backend's.
    Fast,
}

/// A blob and the file that holds its values: `data=x.npy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) blob: String,
    pub(crate) source: Source,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((blob, file)) if !blob.is_empty() && !file.is_empty() => {
                let Ok(source) = file.parse();
                Ok(Self { blob: blob.to_owned(), source })
            }
            _ => Err("expected BLOB=FILE".into()),
        }
    }
}
