//! Four published models, against listings made with an independent protobuf reader.

use std::path::Path;

use bn_caffe::bind::Binding;
use bn_caffe::inspect::{Detail, Warning, inspect};
use bn_caffe::net::{Net, check};
use bn_caffe::proto::schema::Phase;
use bn_caffe::text::{Document, Edits};
use bn_caffe::weights::Caffemodel;
use libtest_mimic::Trial;

use crate::listings;
use crate::{Outcome, ensure, json, trial};

/// A model's files and what its README says of it.
struct Model {
    name: &'static str,
    folder: &'static str,
    weights: &'static str,
    prototxt: &'static str,
    /// BatchNorm layers, and as many Scale layers.
    pairs: usize,
    eps: f32,
    denormal: usize,
}

const MODELS: [Model; 4] = [
    Model {
        name: "minivision_retinaface",
        folder: "models/minivision_retinaface",
        weights: "Widerface-RetinaFace.caffemodel",
        prototxt: "deploy.prototxt",
        pairs: 47,
        eps: 1e-5,
        denormal: 18,
    },
    Model {
        name: "retinaface_mnet025",
        folder: "models/retinaface_mnet025",
        weights: "mobile0.25.caffemodel",
        prototxt: "mobile0.25.prototxt",
        pairs: 47,
        eps: 1e-5,
        denormal: 0,
    },
    Model {
        name: "yoloface_50k",
        folder: "models/dogqiuqiu_yolo",
        weights: "yoloface-50k.caffemodel",
        prototxt: "yoloface-50k.prototxt",
        pairs: 23,
        eps: 1e-5,
        denormal: 0,
    },
    Model {
        name: "landmark106",
        folder: "models/dogqiuqiu_yolo",
        weights: "landmark106.caffemodel",
        prototxt: "landmark106.prototxt",
        pairs: 38,
        eps: 1e-3,
        denormal: 0,
    },
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for model in &MODELS {
        let mut add = |what: &str, test: fn(&Model, &Path) -> Outcome| {
            let name = format!("{}::{what}", model.name);
            trials.push(trial(name, model.folder, move |path| test(model, path)));
        };
        add("listing", listing);
        add("inspection", inspection);
        add("weights_round_trip", weights_round_trip);
        add("prototxt_round_trip", prototxt_round_trip);
    }
    trials.push(trial("traced_trunks_pass_caffes_checks", "models/expected", trunks));
    trials
}

fn listing(model: &Model, path: &Path) -> Outcome {
    let file = model.weights.replace(".caffemodel", ".inspect.json");
    let weights = Caffemodel::read(path.join(model.weights))?;
    listings::compare(&weights, &json(path.join(file))?)
}

fn inspection(model: &Model, path: &Path) -> Outcome {
    let net = Net::read(path.join(model.prototxt))?;
    let weights = Caffemodel::read(path.join(model.weights))?;
    Binding::new(&net.for_phase(Phase::Test)?, &weights)?;
    let found = inspect(Some(&net), Some(&weights), Phase::Test)?;
    let (mut pairs, mut denormal) = (0, 0);
    for layer in &found.layers {
        let harmless = |w: &Warning| {
            matches!(w, Warning::MissingScale | Warning::SharedOutput { .. } | Warning::NoWeights)
        };
        let serious: Vec<_> = layer.warnings.iter().filter(|w| !harmless(w)).collect();
        ensure(serious.is_empty(), || format!("{}: {serious:?}", layer.name))?;
        let Detail::BatchNorm(bn) = &layer.detail else {
            continue;
        };
        pairs += usize::from(bn.scale.is_some());
        ensure(bn.eps == model.eps, || format!("{}: eps {}", layer.name, bn.eps))?;
        ensure(bn.uses_global_stats, || format!("{}: batch statistics", layer.name))?;
        let statistics = bn.statistics.ok_or("no statistics")?;
        ensure(statistics.factor == 1.0, || format!("{}: factor", layer.name))?;
        ensure(bn.channels.is_some_and(|c| c > 0), || "no channels".into())?;
        denormal += statistics.denormal_variances;
    }
    ensure(pairs == model.pairs, || format!("{pairs} pairs, expected {}", model.pairs))?;
    ensure(denormal == model.denormal, || {
        format!("{denormal} denormal variances, expected {}", model.denormal)
    })
}

/// Written back unchanged, and with every layer taken apart and put together.
fn weights_round_trip(model: &Model, path: &Path) -> Outcome {
    let bytes = std::fs::read(path.join(model.weights))?;
    let mut weights = Caffemodel::parse(bytes.clone())?;
    ensure(weights.to_bytes() == bytes, || "unchanged weights differ".into())?;
    for layer in weights.layers_mut() {
        let blobs = layer.blobs()?;
        layer.edit(|_| Ok(()))?;
        layer.set_blobs(&blobs)?;
    }
    ensure(weights.encoded_len() == weights.to_bytes().len(), || "length".into())?;
    ensure(weights.to_bytes() == bytes, || "rewritten weights differ".into())
}

/// Written back unchanged; then one layer is removed and only its lines are gone.
fn prototxt_round_trip(model: &Model, path: &Path) -> Outcome {
    let doc = Document::read(path.join(model.prototxt))?;
    let text = doc.text();
    ensure(text == std::fs::read(path.join(model.prototxt))?, || "text differs".into())?;
    ensure(Edits::new(&doc).apply()? == text, || "no edits, other text".into())?;

    let net = Net::from_document(&doc)?;
    let batch_norm = net.layers.iter().find(|l| l.type_name() == "BatchNorm");
    let layer = batch_norm.ok_or("no BatchNorm")?;
    let field = layer.field.and_then(|id| doc.field(id)).ok_or("no field")?;
    let mut edits = Edits::new(&doc);
    edits.remove(field);
    let shorter = Net::parse(edits.apply()?)?;
    let rest = net.layers.iter().filter(|l| l.name() != layer.name());
    let same = rest.map(|l| &l.parameter).eq(shorter.layers.iter().map(|l| &l.parameter));
    ensure(same, || "other layers changed".into())
}

/// The trunks that stock Caffe ran pass every check that it makes.
fn trunks(path: &Path) -> Outcome {
    for model in &MODELS {
        let net = Net::read(path.join(model.name).join("trunk.prototxt"))?;
        check::net(&net.for_phase(Phase::Test)?)?;
    }
    Ok(())
}
