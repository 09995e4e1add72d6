//! `bn compare`: every backend on the same input, held against f64 arithmetic.

use bn::{Options, Status};
use bn_core::{DType, Error, Layout, Scalar};
use serde::Serialize;
use serde_json::json;

use super::run::timed;
use crate::args::CompareArgs;
use crate::failure::Failure;
use crate::layer::{Inputs, Loaded, Output, Pass, Settings};
use crate::progress::Progress;
use crate::report::{Difference, Direction, Speed, paragraph, print_json, shape, table, write_out};
use crate::tensor::{Stored, View, with_element};

/// Reads, runs everything, reports.
pub(crate) fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let layout = args.layer.layout.into();
    let files = args.x.iter().chain(args.others.given().map(|(_, source)| source));
    let progress = Progress::new(files.map(|source| source.path()));
    let loaded = match &args.x {
        Some(x) => Loaded::read(x, &args.others, |file| progress.step(format!("reading {file}")))?,
        None => {
            if let Some((role, source)) = args.others.given().next() {
                let option = role.option();
                let message =
                    format!("{option} {source}: belongs to an input of yours; expected --x too");
                return Err(Failure::BadInput(message));
            }
            Loaded::digits(layout).map_err(|error| Failure::Failed(format!("digits {error}")))?
        }
    };
    with_element!(&loaded.x.tensor.values, T => compare_as::<T>(args, loaded, &progress))
}

fn compare_as<T: Stored>(
    args: &CompareArgs,
    loaded: Loaded,
    progress: &Progress,
) -> Result<(), Failure> {
    let settings = Settings::new(&args.layer)?;
    let source = loaded.x.label.clone();
    let inputs = Inputs::<T>::new(loaded, args.layer.layout.into(), &settings)?;
    progress.step("computing the reference in f64");
    let widened = inputs.widen()?;
    let mut reference = Pass::new(&widened, &settings)?;
    reference.forward(&bn::naive::NaiveBackend)?;
    reference.backward(&bn::naive::NaiveBackend)?;

    let options = Options::default().with_threads(args.threads.map(std::num::NonZero::get));
    let reference: Vec<_> = reference.outputs().list();
    let (mut runs, mut left_out) = (Vec::new(), Vec::new());
    for entry in bn::backends() {
        progress.step(format!("running {}", entry.name));
        let absence = match entry.status {
            Status::Available { .. } => {
                match run(entry.name, &options, &inputs, &settings, &reference) {
                    Ok(run) => {
                        runs.push(run);
                        continue;
                    }
                    Err(Refused::Reason(reason)) => reason,
                    Err(Refused::Failure(failure)) => return Err(failure),
                }
            }
            Status::Unavailable { reason } => reason,
            Status::LeftOut { feature } => format!("the build had no feature `{feature}`"),
        };
        left_out.push(Absent { name: entry.name, reason: absence });
    }
    progress.finish();
    let report = Report {
        args,
        source,
        settings: &settings,
        dtype: T::DTYPE.name(),
        dims: &inputs.dims,
        backward: inputs.dy.is_some(),
        nans: inputs.nans(),
        tracks: inputs.running.is_some(),
        runs,
        left_out,
    };
    if args.json { print_json(&report.document()) } else { report.print() }
}

/// Why a backend gave no results.
enum Refused {
    /// It does not do what was asked: it is left out, and the others go on.
    Reason(String),
    /// It failed.
    Failure(Failure),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported { .. }
            | Error::UnsupportedElement { .. }
            | Error::Unavailable { .. } => Self::Reason(error.to_string()),
            _ => Self::Failure(error.into()),
        }
    }
}

impl From<bn::Error> for Refused {
    fn from(error: bn::Error) -> Self {
        match error {
            bn::Error::Core(error) => error.into(),
            _ => Self::Failure(error.into()),
        }
    }
}

/// One backend's results.
#[derive(Serialize)]
struct Run {
    name: &'static str,
    device: String,
    instruction_set: String,
    differences: Vec<Compared>,
    forward: Speed,
    backward: Option<Speed>,
}

/// One result against the reference.
#[derive(Serialize)]
struct Compared {
    name: &'static str,
    dtype: &'static str,
    /// The type whose units in the last place the difference is given in.
    ulp_of: &'static str,
    #[serde(flatten)]
    difference: Difference,
}

/// A backend without results.
#[derive(Serialize)]
struct Absent {
    name: &'static str,
    reason: String,
}

fn run<T: Stored>(
    name: &'static str,
    options: &Options,
    inputs: &Inputs<T>,
    settings: &Settings,
    reference: &[Output<'_>],
) -> Result<Run, Refused> {
    let backend = bn::open::<T>(name, options)?;
    let mut pass = Pass::new(inputs, settings)?;
    let forward = timed(&mut pass, Direction::Forward, &*backend)?;
    let backward = match pass.has_backward() {
        true => Some(timed(&mut pass, Direction::Backward, &*backend)?),
        false => None,
    };
    let compared = |(found, expected): (&Output<'_>, &Output<'_>)| {
        let View::F64(reference) = expected.values else {
            unreachable!("every result of a pass in f64 is f64")
        };
        // Statistics are f64 whatever x is; of x in f32 no digit beyond f32 is known to matter.
        let unit = match found.values.dtype() {
            DType::F64 => <T::Param as Scalar>::DTYPE,
            dtype => dtype,
        };
        Compared {
            name: found.name,
            dtype: found.values.dtype().name(),
            ulp_of: unit.name(),
            difference: Difference::of(found.values, reference, unit),
        }
    };
    let device = backend.device();
    Ok(Run {
        name,
        device: device.label,
        instruction_set: device.instruction_set,
        differences: pass.outputs().list().iter().zip(reference).map(compared).collect(),
        forward,
        backward,
    })
}

struct Report<'a> {
    args: &'a CompareArgs,
    source: String,
    settings: &'a Settings,
    dtype: &'static str,
    dims: &'a [usize],
    backward: bool,
    nans: Vec<(&'static str, usize)>,
    /// Whether there are running statistics.
    tracks: bool,
    runs: Vec<Run>,
    left_out: Vec<Absent>,
}

impl Report<'_> {
    fn layout(&self) -> Layout {
        self.args.layer.layout.into()
    }

    fn document(&self) -> serde_json::Value {
        let nans: serde_json::Map<_, _> =
            self.nans.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        json!({
            "command": "compare",
            "x": {
                "source": self.source,
                "shape": self.dims,
                "dtype": self.dtype,
                "layout": self.layout().name(),
            },
            "layer": self.settings.document(),
            "nan_in_inputs": nans,
            "reference": "naive in f64",
            "backends": self.runs,
            "left_out": self.left_out,
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let mut parts = vec![self.introduction()];
        if !self.runs.is_empty() {
            parts.push(self.differences());
            parts.push(paragraph(
                "The reference is the same formulas in f64 (naive, run in f64). largest: the largest \
                 difference, relative to the largest value of that result. ulp: that difference in \
                 units in the last place of the value where it is; 0.5 is mere rounding. worst: the \
                 most ulp of any value, large where a value near 0 is the difference of large ones. \
                 save_mean and save_inv_std are kept in f64; their ulp is that of the parameters.",
            ));
            parts.push(self.speeds());
        }
        let absent = |absent: &Absent| format!("Not run: {}, {}.", absent.name, absent.reason);
        let nan = |(name, count): &(&str, usize)| {
            format!(
                "Note: {name} holds {count} NaN; a NaN that the reference has too is no difference."
            )
        };
        let notes: Vec<_> =
            self.nans.iter().map(nan).chain(self.left_out.iter().map(absent)).collect();
        parts.extend((!notes.is_empty()).then(|| notes.join("\n")));
        write_out(&parts.join("\n\n"))
    }

    fn introduction(&self) -> String {
        let Self { dtype, .. } = self;
        let (dims, layout) = (shape(self.dims), self.layout());
        let sentence = self.settings.sentence(self.tracks);
        let what = match &self.args.x {
            Some(x) => x.to_string(),
            None => {
                "what one training step of a network for handwritten digits gave to its second \
                     batch normalisation"
                    .into()
            }
        };
        let direction = if self.backward { "Forward and backward" } else { "Forward" };
        paragraph(&format!("{direction} on {what}: {dims}, {dtype}, {layout}. {sentence}."))
    }

    fn differences(&self) -> String {
        let mut header = vec!["result".to_owned(), "type".to_owned()];
        for run in &self.runs {
            header.push(format!("{}\nlargest", run.name));
            header.extend(["\nulp".into(), "\nworst".into()]);
        }
        let header: Vec<_> = header.iter().map(String::as_str).collect();
        let results = self.runs.first().map_or(&[][..], |run| &run.differences);
        let rows = results.iter().enumerate().map(|(index, result)| {
            let cells = self.runs.iter().flat_map(|run| run.differences[index].cells());
            [result.name.into(), result.dtype.into()].into_iter().chain(cells).collect()
        });
        table(&header, rows.collect(), 2)
    }

    fn speeds(&self) -> String {
        let mut header = vec!["backend", "device", "kernels", "forward", "GB/s"];
        header.extend(self.backward.then_some(["backward", "GB/s"]).into_iter().flatten());
        let rows = self.runs.iter().map(|run| {
            let mut row = vec![run.name.into(), run.device.clone(), run.instruction_set.clone()];
            for speed in [Some(run.forward), run.backward].into_iter().flatten() {
                row.extend([speed.time(), speed.rate()]);
            }
            row
        });
        table(&header, rows.collect(), 3)
    }
}

impl Compared {
    /// The largest difference, relative and in ulp, and the most ulp of any value.
    fn cells(&self) -> [String; 3] {
        let Difference { ulp, largest_ulp, relative, not_comparable, .. } = self.difference;
        if not_comparable > 0 {
            return [format!("{not_comparable} NaN or inf"), "-".into(), "-".into()];
        }
        let in_ulp = |ulp: f64| match ulp {
            0.0 => "0".into(),
            ulp if ulp < 0.01 => "<0.01".into(),
            ulp if ulp < 1e4 => format!("{ulp:.2}"),
            ulp => format!("{ulp:.1e}"),
        };
        let relative = if relative == 0.0 { "0".into() } else { format!("{relative:.1e}") };
        [relative, in_ulp(ulp), in_ulp(largest_ulp)]
    }
}
