//! `bn caffe fold`: batch normalisation merged into its neighbours.

use bn_caffe::fold::{Decision, Folded, Outcome, fold as fold_files};
use bn_caffe::text::Document;
use bn_caffe::weights::Caffemodel;
use serde_json::{Value, json};

use super::plain;
use crate::args::FoldArgs;
use crate::failure::Failure;
use crate::out_files;
use crate::report::{print_json, write_out};

/// Reads, folds, writes, reports.
pub(super) fn fold(args: &FoldArgs) -> Result<(), Failure> {
    let places = [("--out-prototxt", &*args.out_prototxt), ("--out-weights", &*args.out_weights)];
    out_files::plan(&places, &[&args.prototxt, &args.weights])?;
    let document = Document::read(&args.prototxt)?;
    let weights = Caffemodel::read(&args.weights)?;
    let Folded { prototxt, weights, decisions } = fold_files(&document, &weights)?;
    out_files::write(vec![
        (args.out_prototxt.clone(), prototxt),
        (args.out_weights.clone(), weights.to_bytes()),
    ])?;
    let count = |of: fn(&Outcome) -> bool| decisions.iter().filter(|d| of(&d.outcome)).count();
    let before = count(|outcome| matches!(outcome, Outcome::Before { .. }));
    let after = count(|outcome| matches!(outcome, Outcome::After { .. }));
    let scale = count(|outcome| matches!(outcome, Outcome::Scale { .. }));
    let left = count(|outcome| matches!(outcome, Outcome::Left { .. }));
    if args.json {
        return print_json(&json!({
            "command": "caffe fold",
            "prototxt": args.out_prototxt.display().to_string(),
            "weights": args.out_weights.display().to_string(),
            "before": before,
            "after": after,
            "scale": scale,
            "left": left,
            "decisions": decisions.iter().map(document_of).collect::<Vec<_>>(),
        }));
    }
    let mut lines: Vec<String> = decisions.iter().map(|d| plain(&d.to_string())).collect();
    lines.push(format!(
        "{} in all: {before} into the layer before, {after} into the layer after, {scale} into one \
         Scale, {left} left",
        decisions.len()
    ));
    let (prototxt, weights) = (args.out_prototxt.display(), args.out_weights.display());
    lines.push(format!("written: {prototxt}, {weights}"));
    write_out(&lines.join("\n"))
}

fn document_of(decision: &Decision) -> Value {
    let reason = |reason: &bn_caffe::fold::Reason| reason.to_string();
    let outcome = match &decision.outcome {
        Outcome::Before { layer, kind, bias_added } => {
            json!({ "into": "before", "layer": layer, "type": kind, "bias_added": bias_added })
        }
        Outcome::After { layer, kind, bias_added, not_before } => json!({
            "into": "after", "layer": layer, "type": kind, "bias_added": bias_added,
            "not_before": reason(not_before),
        }),
        Outcome::Scale { layer, not_before, not_after } => json!({
            "into": "scale", "layer": layer,
            "not_before": reason(not_before), "not_after": reason(not_after),
        }),
        Outcome::Left { reason: why } => json!({ "into": null, "reason": reason(why) }),
    };
    json!({ "layers": decision.layers, "outcome": outcome })
}
