//! `bn run`: one pass on one backend, its results in files.

use std::path::Path;

use bn::Options;
use bn_core::{Device, Error, HostBackend, Layout};
use serde::Serialize;
use serde_json::json;

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::layer::{Inputs, Loaded, Output, Pass, Settings};
use crate::out_dir::OutDir;
use crate::progress::Progress;
use crate::report::{
    Direction, Speed, Summary, least_bytes, median, number, paragraph, print_json, shape, table,
    write_out,
};
use crate::tensor::{Format, Stored, with_element};

/// Reads, normalises, writes, reports.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let progress = Progress::new(input_files(args).into_iter());
    let loaded =
        Loaded::read(&args.x, &args.others, |file| progress.step(format!("reading {file}")))?;
    with_element!(&loaded.x.tensor.values, T => run_as::<T>(args, loaded, &progress))
}

fn input_files(args: &RunArgs) -> Vec<&Path> {
    let others = args.others.given().map(|(_, source)| source.path());
    std::iter::once(args.x.path()).chain(others).collect()
}

fn run_as<T: Stored>(args: &RunArgs, loaded: Loaded, progress: &Progress) -> Result<(), Failure> {
    let settings = Settings::new(&args.layer)?;
    let format = loaded.format;
    let inputs = Inputs::<T>::new(loaded, args.layer.layout.into(), &settings)?;
    let options = Options::default().with_threads(args.threads.map(std::num::NonZero::get));
    let backend = bn::open::<T>(args.backend.as_str(), &options)?;
    let mut pass = Pass::new(&inputs, &settings)?;
    let names = pass.outputs().names();
    let out_dir = OutDir::plan(&args.out_dir, format, &names, &input_files(args))?;

    progress.step(format!("forward on {}", backend.name()));
    let forward = timed(&mut pass, Direction::Forward, &*backend)?;
    let mut backward = None;
    if pass.has_backward() {
        progress.step(format!("backward on {}", backend.name()));
        backward = Some(timed(&mut pass, Direction::Backward, &*backend)?);
    }
    progress.step(format!("writing to {}", args.out_dir.display()));
    let outputs = pass.outputs().list();
    let results: Vec<_> = outputs.iter().map(|output| Row::new(output, &out_dir)).collect();
    out_dir.write(&outputs)?;
    progress.finish();

    let report = Report {
        args,
        settings: &settings,
        dtype: T::DTYPE.name(),
        dims: &inputs.dims,
        format,
        nans: inputs.nans(),
        tracks: inputs.running.is_some(),
        backend: backend.name(),
        device: backend.device(),
        results,
        forward,
        backward,
    };
    if args.json { print_json(&report.document()) } else { report.print() }
}

/// Runs one direction of a pass, and measures it.
pub(super) fn timed<T: Stored>(
    pass: &mut Pass<'_, T>,
    direction: Direction,
    backend: &HostBackend<T>,
) -> Result<Speed, Error> {
    let bytes = least_bytes(direction, pass.elements(), T::DTYPE.size(), pass.has_residual());
    median(bytes, || match direction {
        Direction::Forward => pass.forward(backend),
        Direction::Backward => pass.backward(backend),
    })
}

/// One result, as table and JSON document have it.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    file: String,
    shape: Vec<usize>,
    dtype: &'static str,
    #[serde(flatten)]
    summary: Summary,
}

impl Row {
    fn new(output: &Output<'_>, out_dir: &OutDir) -> Self {
        Self {
            name: output.name,
            file: out_dir.file(output.name).display().to_string(),
            shape: output.dims.clone(),
            dtype: output.values.dtype().name(),
            summary: Summary::of(output.values),
        }
    }

    fn cells(&self, with_nan: bool) -> Vec<String> {
        let value = |value: Option<f64>| value.map_or("-".into(), number);
        let Summary { min, mean, max, nan } = self.summary;
        let nan = with_nan.then(|| nan.to_string());
        let cells = [
            self.name.into(),
            shape(&self.shape),
            self.dtype.into(),
            value(min),
            value(mean),
            value(max),
        ];
        cells.into_iter().chain(nan).collect()
    }
}

struct Report<'a> {
    args: &'a RunArgs,
    settings: &'a Settings,
    dtype: &'static str,
    dims: &'a [usize],
    format: Format,
    nans: Vec<(&'static str, usize)>,
    /// Whether there are running statistics.
    tracks: bool,
    backend: &'static str,
    device: Device,
    results: Vec<Row>,
    forward: Speed,
    backward: Option<Speed>,
}

impl Report<'_> {
    fn layout(&self) -> Layout {
        self.args.layer.layout.into()
    }

    fn document(&self) -> serde_json::Value {
        let nans: serde_json::Map<_, _> =
            self.nans.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        json!({
            "command": "run",
            "x": {
                "source": self.args.x.to_string(),
                "shape": self.dims,
                "dtype": self.dtype,
                "layout": self.layout().name(),
            },
            "layer": self.settings.document(),
            "nan_in_inputs": nans,
            "backend": {
                "name": self.backend,
                "device": self.device.label,
                "instruction_set": self.device.instruction_set,
            },
            "outputs": self.results,
            "forward": self.forward,
            "backward": self.backward,
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let Self { args, dtype, nans, backend, .. } = self;
        let Device { label, instruction_set } = &self.device;
        let (dims, layout) = (shape(self.dims), self.layout());
        let intro = paragraph(&format!(
            "{}: {dims}, {dtype}, {layout}. {}. On {backend} ({label}, {instruction_set}).",
            args.x,
            self.settings.sentence(self.tracks),
        ));

        let with_nan = !nans.is_empty() || self.results.iter().any(|row| row.summary.nan > 0);
        let mut header = vec!["result", "shape", "type", "min", "mean", "max"];
        header.extend(with_nan.then_some("NaN"));
        let rows = self.results.iter().map(|row| row.cells(with_nan)).collect();
        let results = table(&header, rows, 3);

        let mut lines = vec![intro, results];
        for (name, count) in nans {
            lines.push(format!("Note: {name} holds {count} NaN; min, mean and max leave NaN out."));
        }
        let speeds = [("forward", Some(self.forward)), ("backward", self.backward)];
        for (name, speed) in speeds {
            let Some(speed) = speed else { continue };
            let (time, rate, runs) = (speed.time(), speed.rate(), speed.runs);
            let runs = if runs == 1 { "one run".into() } else { format!("median of {runs} runs") };
            lines.push(format!("{name:<8} {time:>10}  {rate:>7} GB/s  ({runs})"));
        }
        let (dir, format) = (args.out_dir.display(), self.format.extension());
        lines.push(format!("Written to {dir}, one .{format} file for each result."));
        write_out(&lines.join("\n"))
    }
}
