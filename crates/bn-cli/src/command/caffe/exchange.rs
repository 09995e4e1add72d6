//! `bn caffe export` and `bn caffe import`: PyTorch's names and back.

use bn_caffe::exchange;
use bn_caffe::net::Net;
use bn_caffe::weights::Caffemodel;
use serde_json::json;

use super::plain;
use crate::args::{ExportArgs, ImportArgs};
use crate::failure::Failure;
use crate::out_files;
use crate::report::{print_json, table, write_out};

/// Takes statistics and parameters out of weights.
pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    out_files::plan(&[("--out", &args.out)], &[&args.prototxt, &args.weights])?;
    let (net, weights) = (Net::read(&args.prototxt)?, Caffemodel::read(&args.weights)?);
    let found = exchange::export(&net, &weights)?;
    out_files::write(vec![(args.out.clone(), found.to_safetensors()?)])?;
    let file = args.out.display().to_string();
    if args.json {
        let layers = found.layers.iter().map(|layer| {
            let tensors: Vec<_> = layer.tensors().map(|(name, _)| name).collect();
            json!({
                "name": layer.name, "channels": layer.running_mean.len(), "tensors": tensors,
                "eps": f64::from(layer.eps), "dtype": if layer.double { "f64" } else { "f32" },
            })
        });
        return print_json(&json!({
            "command": "caffe export",
            "file": file,
            "layers": layers.collect::<Vec<_>>(),
            "without_weights": found.without_weights,
        }));
    }
    let rows = found.layers.iter().map(|layer| {
        let tensors: Vec<_> = layer.tensors().map(|(name, _)| name).collect();
        let channels = layer.running_mean.len().to_string();
        vec![plain(&layer.name), tensors.join(" "), channels, format!("{:e}", layer.eps)]
    });
    let mut text = table(&["module", "tensors", "channels", "eps"], rows.collect(), 2);
    for name in &found.without_weights {
        text += &format!("\nleft out: {}: no weights of this name", plain(name));
    }
    write_out(&format!("{text}\nwritten: {file}"))
}

/// Puts them back.
pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let inputs = [&*args.prototxt, &*args.weights, &*args.from];
    out_files::plan(&[("--out-weights", &args.out_weights)], &inputs)?;
    let (net, weights) = (Net::read(&args.prototxt)?, Caffemodel::read(&args.weights)?);
    let from = args.from.display();
    let wrong = |what: String| Failure::BadInput(format!("--from {from}: {what}"));
    let metadata = std::fs::metadata(&args.from).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("expected a regular file".into()));
    }
    let bytes = std::fs::read(&args.from).map_err(|error| wrong(error.to_string()))?;
    let done = exchange::import(&net, &weights, &bytes).map_err(|e| wrong(e.to_string()))?;
    out_files::write(vec![(args.out_weights.clone(), done.weights.to_bytes())])?;
    let file = args.out_weights.display().to_string();
    if args.json {
        let other_eps = done
            .other_eps
            .iter()
            .map(|(name, file, net)| json!({ "name": name, "file": file, "net": f64::from(*net) }));
        return print_json(&json!({
            "command": "caffe import",
            "file": file,
            "changed": done.changed,
            "unchanged": done.unchanged,
            "missing": done.missing,
            "other_eps": other_eps.collect::<Vec<_>>(),
        }));
    }
    let mut lines = Vec::new();
    for (names, what) in [
        (&done.changed, "changed"),
        (&done.unchanged, "as it was"),
        (&done.missing, "no tensors of it, as it was"),
    ] {
        lines.extend(names.iter().map(|name| format!("{}: {what}", plain(name))));
    }
    for (name, file, net) in &done.other_eps {
        lines.push(format!(
            "warning: {}: eps is {file:e} in the file and {net:e} in the net, which counts",
            plain(name)
        ));
    }
    lines.push(format!(
        "{} changed, {} unchanged, {} without tensors; written: {file}",
        done.changed.len(),
        done.unchanged.len(),
        done.missing.len()
    ));
    write_out(&lines.join("\n"))
}
