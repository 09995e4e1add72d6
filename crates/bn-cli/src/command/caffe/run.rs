//! `bn caffe run`: a net of normalisation layers, forward and backward.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bn::Options;
use bn_caffe::layer::{Numerics, Real};
use bn_caffe::net::Net;
use bn_caffe::run::{Runner, Tensor};
use bn_caffe::weights::Caffemodel;
use bn_core::DType;
use serde_json::json;

use super::results::{Results, Row};
use super::{line, plain};
use crate::args::{CaffeRunArgs, Named, NumericsArg, PhaseArg};
use crate::failure::Failure;
use crate::out_dir::check_dir;
use crate::out_files;
use crate::progress::Progress;
use crate::report::{number, print_json, shape, table, write_out};
use crate::tensor::{Role, Stored, Tensor as FileTensor};

/// Reads, runs, writes, reports.
pub(super) fn run(args: &CaffeRunArgs) -> Result<(), Failure> {
    if args.backend.is_some() && args.numerics == NumericsArg::Exact {
        let message = "--backend: there is none in exact numerics; expected --numerics fast";
        return Err(Failure::BadInput(message.into()));
    }
    let progress = Progress::new(input_files(args).into_iter());
    let inputs = read(&args.input, "--input", &progress)?;
    let diffs = read(&args.top_diff, "--top-diff", &progress)?;
    match inputs.first().map(|(_, _, tensor)| tensor.values.dtype()) {
        Some(DType::F64) => run_as::<f64>(args, inputs, diffs, &progress),
        _ => run_as::<f32>(args, inputs, diffs, &progress),
    }
}

fn input_files(args: &CaffeRunArgs) -> Vec<&Path> {
    let tensors = args.input.iter().chain(&args.top_diff).map(|named| named.source.path());
    tensors.chain([&*args.prototxt]).chain(args.weights.as_deref()).collect()
}

/// A blob's name, what messages call its file, and its tensor.
type Given = (String, String, FileTensor);

fn read(named: &[Named], option: &str, progress: &Progress) -> Result<Vec<Given>, Failure> {
    let tensors = named.iter().map(|Named { blob, source }| {
        let label = format!("{option} {blob}={source}");
        progress.step(format!("reading {source}"));
        let (tensor, _) =
            source.read(Role::X).map_err(|e| Failure::BadInput(format!("{label}: {e}")))?;
        Ok((blob.clone(), label, tensor))
    });
    tensors.collect()
}

/// The tensors by blob, all of one element type.
fn typed<T: Stored>(given: Vec<Given>) -> Result<BTreeMap<String, Tensor<T>>, Failure> {
    let mut typed = BTreeMap::new();
    for (blob, label, FileTensor { dims, values }) in given {
        let found = values.dtype();
        let values = T::from_values(values).ok_or_else(|| {
            let expected = match found {
                DType::F32 | DType::F64 => format!("{}, as the first input", T::DTYPE),
                _ => "f32 or f64".to_owned(),
            };
            Failure::BadInput(format!("{label}: element type {found}; expected {expected}"))
        })?;
        if typed.insert(blob, Tensor::new(dims, values)?).is_some() {
            return Err(Failure::BadInput(format!("{label}: the blob is given twice")));
        }
    }
    Ok(typed)
}

fn run_as<T: Real + Stored>(
    args: &CaffeRunArgs,
    inputs: Vec<Given>,
    diffs: Vec<Given>,
    progress: &Progress,
) -> Result<(), Failure> {
    let (inputs, diffs) = (typed::<T>(inputs)?, typed::<T>(diffs)?);
    let net = Net::read(&args.prototxt)?;
    let weights = args.weights.as_ref().map(Caffemodel::read).transpose()?;
    let options = Options::default().with_threads(args.threads.map(std::num::NonZero::get));
    let backend = match args.numerics {
        NumericsArg::Exact => None,
        NumericsArg::Fast => {
            Some(bn::open::<T>(args.backend.as_deref().unwrap_or("auto"), &options)?)
        }
    };
    let numerics = backend.as_deref().map_or(Numerics::Exact, Numerics::Fast);
    let backward = !diffs.is_empty();
    let phase = args.phase.into();
    let mut runner = Runner::new(&net, phase, weights.as_ref(), inputs, numerics, backward)?;
    let warnings = runner.warnings();
    progress.step("forward");
    runner.forward()?;
    if backward {
        progress.step("backward");
        let tops = diffs.into_iter().map(|(name, diff)| (name, diff.values().to_vec()));
        runner.backward(&tops.collect())?;
    }

    let mut results = Results::new(&args.out_dir);
    for (name, blob) in &runner.blobs() {
        results.tensor("blob", name, "", blob)?;
    }
    for (name, diff) in &runner.diffs() {
        results.tensor("diff", name, ".diff", diff)?;
    }
    if backward {
        for (layer, blob, diff) in &runner.param_diffs() {
            results.tensor("param diff", layer, &format!(".{blob}.diff"), diff)?;
        }
    }
    let mut updated = None;
    if args.phase == PhaseArg::Train {
        let bytes = runner.weights()?.to_bytes();
        updated = Some(results.bytes("weights", ".caffemodel", bytes)?);
    }
    write(args, &mut results)?;
    progress.finish();

    let lines: Vec<_> =
        warnings.iter().map(|(layer, warning)| line(Some(layer), warning)).collect();
    let engine = backend.as_deref().map_or("exact", |backend| backend.name());
    report(args, engine, T::DTYPE.name(), &results.rows, updated, &lines)
}

/// Checks every place, then writes.
fn write(args: &CaffeRunArgs, results: &mut Results<'_>) -> Result<(), Failure> {
    let dir = &args.out_dir;
    check_dir(dir)?;
    if dir.exists() {
        let places: Vec<_> = results.files.iter().map(|(place, _)| ("", &**place)).collect();
        out_files::plan(&places, &input_files(args))?;
    }
    out_files::write_into(dir, std::mem::take(&mut results.files))
}

fn report(
    args: &CaffeRunArgs,
    engine: &str,
    dtype: &str,
    rows: &[Row],
    weights: Option<PathBuf>,
    warnings: &[String],
) -> Result<(), Failure> {
    let weights = weights.map(|place| place.display().to_string());
    if args.json {
        return print_json(&json!({
            "command": "caffe run",
            "phase": args.phase.name(),
            "numerics": if engine == "exact" { "exact" } else { "fast" },
            "backend": (engine != "exact").then_some(engine),
            "dtype": dtype,
            "results": rows,
            "weights": weights,
            "warnings": warnings,
        }));
    }
    let cells = rows.iter().map(|row| {
        let value = |value: Option<f64>| value.map_or("-".into(), number);
        vec![
            plain(&row.name),
            row.kind.into(),
            shape(&row.shape),
            value(row.summary.min),
            value(row.summary.mean),
            value(row.summary.max),
        ]
    });
    let mut text = table(&["name", "", "shape", "min", "mean", "max"], cells.collect(), 3);
    for warning in warnings {
        text += &format!("\n{warning}");
    }
    let how = if engine == "exact" { "exact numerics".into() } else { format!("fast on {engine}") };
    text += &format!("\n{how}, {dtype}, phase {}", args.phase.name());
    text += &format!("\nwritten to {}", args.out_dir.display());
    if let Some(weights) = weights {
        text += &format!("; updated weights: {weights}");
    }
    write_out(&text)
}
