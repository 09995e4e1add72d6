//! The set-up cases of real Caffe that concern parameters, blobs and shapes.

use std::path::Path;

use bn_caffe::Result;
use bn_caffe::net::{check, geometry};
use bn_caffe::proto::schema::LayerParameter;
use bn_caffe::text::{Document, read};
use libtest_mimic::Trial;

use crate::{Outcome, ensure, json, trial};

/// Cases that differ in connections or between two calls, not in the layer's text.
const ELSEWHERE: [&str; 2] = ["bn_channels_change", "bn_two_tops"];

pub fn trials() -> Vec<Trial> {
    vec![trial("setup_cases_end_as_in_caffe", "oracle/errors.json", cases)]
}

fn cases(path: &Path) -> Outcome {
    let cases = json(path)?;
    let mut checked = 0;
    for case in cases.as_array().ok_or("no cases")? {
        let name = case["name"].as_str().ok_or("no name")?;
        if ELSEWHERE.contains(&name) {
            continue;
        }
        let inputs = case["inputs"].as_object().ok_or("no inputs")?;
        let text = inputs.values().next().and_then(|v| v.as_str()).ok_or("no prototxt")?;
        let refused = set_up(name, text).err();
        let aborts = case["exit"].as_i64() != Some(0);
        ensure(refused.is_some() == aborts, || {
            format!("{name}: Caffe {}, here {refused:?}", if aborts { "aborts" } else { "accepts" })
        })?;
        if let Some(error) = refused {
            // Each message names the layer, what was found and what is expected.
            let message = error.to_string();
            let layer = if name.starts_with("bn") { "\"b\"" } else { "\"s\"" };
            ensure(message.contains(layer) && message.contains("expected"), || message)?;
        }
        checked += 1;
    }
    ensure(checked == cases.as_array().map_or(0, Vec::len) - ELSEWHERE.len(), || "count".into())
}

fn set_up(name: &str, text: &str) -> Result<()> {
    let doc = Document::parse(text)?;
    let (mut layer, _) = read::layer(doc.root())?;
    let (input, factor) = shapes(name);
    layer.bottom = vec!["x".into(); 1 + usize::from(factor.is_some())];
    layer.top = vec!["y".into()];
    check::parameters(&layer)?;
    check::connections(&layer)?;
    shape_check(&layer, input, factor)
}

fn shape_check(layer: &LayerParameter, input: &[usize], factor: Option<&[usize]>) -> Result<()> {
    if layer.type_name() == "BatchNorm" {
        return geometry::batch_norm_channels(layer, input).map(drop);
    }
    geometry::ScaleGeometry::new(layer, input, factor).map(drop)
}

/// Shapes of the inputs that the cases give.
fn shapes(name: &str) -> (&'static [usize], Option<&'static [usize]>) {
    let x: &[usize] = &[2, 3, 4, 5];
    match name {
        "bn_0d" => (&[], None),
        "bn_1d" => (&[6], None),
        "bn_spatial_zero" => (&[2, 3, 0, 4], None),
        "scale2_ok_axis1" => (x, Some(&[3, 4])),
        "scale2_mismatch" => (x, Some(&[4])),
        "scale2_past" => (x, Some(&[5, 1])),
        "scale2_bias" => (x, Some(&[3, 4])),
        "scale2_per_sample_axis0" => (x, Some(&[2, 3])),
        "scale_filler_without_type" | "scale_filler_empty" => (&[2, 3], None),
        _ if name.starts_with("bn") => (&[4, 3], None),
        _ => (x, None),
    }
}
