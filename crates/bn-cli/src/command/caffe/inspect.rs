//! `bn caffe inspect`: what the files hold.

use bn_caffe::inspect::{
    BatchNormReport, Detail, Inspection, LayerReport, Range, ScaleReport, inspect as inspect_files,
};
use bn_caffe::net::Net;
use bn_caffe::weights::Caffemodel;
use serde_json::{Value, json};

use super::{line, plain};
use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::report::{number, print_json, shape, table, write_out};

/// Reads and reports.
pub(super) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let is_text = args
        .file
        .extension()
        .is_some_and(|extension| ["prototxt", "pbtxt"].iter().any(|text| extension == *text));
    if is_text && args.prototxt.is_some() {
        let message = "--prototxt: the file is a net already; expected weights beside it";
        return Err(Failure::BadInput(message.into()));
    }
    let prototxt = if is_text { Some(&args.file) } else { args.prototxt.as_ref() };
    let net = prototxt.map(Net::read).transpose()?;
    let weights = if is_text { None } else { Some(Caffemodel::read(&args.file)?) };
    let found = inspect_files(net.as_ref(), weights.as_ref(), args.phase.into())?;
    if args.json {
        return print_json(&document(args, &found));
    }
    let rows = found.layers.iter().map(row).collect();
    let mut text = table(&["", "layer", "type", "blobs", "what it is"], rows, usize::MAX);
    let count = |of: fn(&Detail) -> bool| found.layers.iter().filter(|l| of(&l.detail)).count();
    text += &format!(
        "\n{} layers in phase {}: {} BatchNorm, {} Scale, {} Bias",
        found.layers.len(),
        args.phase.name(),
        count(|detail| matches!(detail, Detail::BatchNorm(_))),
        count(|detail| matches!(detail, Detail::Scale(_))),
        count(|detail| matches!(detail, Detail::Bias(_))),
    );
    for warning in &found.warnings {
        text += &format!("\n{}", line(None, warning));
    }
    for layer in &found.layers {
        for warning in &layer.warnings {
            text += &format!("\n{}", line(Some(&layer.name), warning));
        }
    }
    write_out(&text)
}

fn row(layer: &LayerReport) -> Vec<String> {
    let blobs: Vec<_> = layer.blobs.iter().map(|blob| shape(&blob.shape)).collect();
    let (mark, text) = match &layer.detail {
        Detail::BatchNorm(report) => ("●", batch_norm(report)),
        Detail::Scale(report) => ("●", scale(report, "factor")),
        Detail::Bias(report) => ("●", scale(report, "bias")),
        Detail::Other => ("", String::new()),
    };
    vec![mark.into(), plain(&layer.name), plain(&layer.type_name), blobs.join(", "), text]
}

fn batch_norm(report: &BatchNormReport) -> String {
    let mut parts = Vec::new();
    parts.extend(report.channels.map(|channels| format!("{channels} channels")));
    parts.extend(report.statistics.map(|s| format!("factor {}", number(s.factor))));
    parts.push(format!("eps {:e}", report.eps));
    let said = match report.use_global_stats {
        Some(value) => format!(" (use_global_stats: {value})"),
        None => String::new(),
    };
    let whose = if report.uses_global_stats { "stored" } else { "the batch's" };
    parts.push(format!("{whose} statistics{said}"));
    if let Some(s) = report.statistics {
        parts.extend(s.mean.map(|range| format!("mean {}", span(range))));
        parts.extend(s.variance.map(|range| format!("variance {}", span(range))));
        for (count, what) in
            [(s.denormal_variances, "denormal"), (s.negative_variances, "negative")]
        {
            if count > 0 {
                parts.push(format!("{count} {what} variances"));
            }
        }
    }
    parts.extend(report.scale.as_ref().map(|name| format!("Scale: {}", plain(name))));
    parts.extend(report.bias.as_ref().map(|name| format!("Bias: {}", plain(name))));
    parts.join("; ")
}

fn scale(report: &ScaleReport, what: &str) -> String {
    let mut parts = Vec::new();
    parts.extend(report.factor.map(|range| format!("{what} {}", span(range))));
    parts.extend(report.bias.map(|range| format!("bias {}", span(range))));
    if report.two_bottoms {
        parts.push(format!("its {what} is the second bottom"));
    } else if (report.axis, report.num_axes) != (1, 1) {
        parts.push(format!("axis {}, num_axes {}", report.axis, report.num_axes));
    }
    parts.extend(report.batch_norm.as_ref().map(|name| format!("of {}", plain(name))));
    parts.join("; ")
}

fn span(range: Range) -> String {
    format!("{} … {}", number(range.min), number(range.max))
}

fn document(args: &InspectArgs, found: &Inspection) -> Value {
    let texts = |warnings: &[bn_caffe::inspect::Warning]| {
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let range = |range: Option<Range>| range.map(|r| json!({ "min": r.min, "max": r.max }));
    let layers = found.layers.iter().map(|layer| {
        let blobs = layer.blobs.iter().map(|blob| {
            let element = format!("{:?}", blob.element).to_lowercase();
            json!({ "shape": blob.shape, "legacy": blob.legacy, "dtype": element })
        });
        let detail = match &layer.detail {
            Detail::BatchNorm(r) => json!({
                "channels": r.channels,
                "eps": f64::from(r.eps),
                "moving_average_fraction": f64::from(r.fraction),
                "use_global_stats": r.use_global_stats,
                "uses_global_stats": r.uses_global_stats,
                "factor": r.statistics.map(|s| s.factor),
                "mean": range(r.statistics.and_then(|s| s.mean)),
                "variance": range(r.statistics.and_then(|s| s.variance)),
                "denormal_variances": r.statistics.map(|s| s.denormal_variances),
                "negative_variances": r.statistics.map(|s| s.negative_variances),
                "non_finite": r.statistics.map(|s| s.non_finite),
                "scale": r.scale,
                "bias": r.bias,
                "in_place": r.in_place,
                "other_readers": r.other_readers,
            }),
            Detail::Scale(r) | Detail::Bias(r) => json!({
                "axis": r.axis,
                "num_axes": r.num_axes,
                "bias_term": r.bias_term,
                "two_bottoms": r.two_bottoms,
                "factor": range(r.factor),
                "bias": range(r.bias),
                "batch_norm": r.batch_norm,
            }),
            Detail::Other => Value::Null,
        };
        json!({
            "name": layer.name,
            "type": layer.type_name,
            "bottoms": layer.bottoms,
            "tops": layer.tops,
            "blobs": blobs.collect::<Vec<_>>(),
            "detail": detail,
            "warnings": texts(&layer.warnings),
        })
    });
    json!({
        "command": "caffe inspect",
        "file": args.file.display().to_string(),
        "net": found.net,
        "phase": args.phase.name(),
        "layers": layers.collect::<Vec<_>>(),
        "warnings": texts(&found.warnings),
    })
}
