//! Every BatchNorm and Scale layer of four published nets.

use bn::Options;
use bn_caffe::layer::Numerics;
use bn_caffe::oracle::{models, traces};
use libtest_mimic::Trial;

use crate::runs::problem;
use crate::{BACKENDS, Outcome, none_of, shared, trial};

/// Traces, weights, and how many pairs of layers there are.
const MODELS: [(&str, &str, usize); 4] = [
    (
        "models/expected/minivision_retinaface",
        "models/minivision_retinaface/Widerface-RetinaFace.caffemodel",
        47,
    ),
    ("models/expected/retinaface_mnet025", "models/retinaface_mnet025/mobile0.25.caffemodel", 35),
    ("models/expected/yoloface_50k", "models/dogqiuqiu_yolo/yoloface-50k.caffemodel", 23),
    ("models/expected/landmark106", "models/dogqiuqiu_yolo/landmark106.caffemodel", 38),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("weights_of_traces_are_found", "models", found)];
    for &(folder, weights, pairs) in &MODELS {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        trials.push(trial(format!("layers_of_{name}_exact"), folder, move |path| {
            layers(path, weights, pairs, Numerics::Exact)
        }));
        for backend in BACKENDS {
            trials.push(trial(format!("layers_of_{name}_on_{backend}"), folder, move |path| {
                let backend = bn::open(backend, &Options::default())?;
                layers(path, weights, pairs, Numerics::Fast(&*backend))
            }));
        }
    }
    trials
}

/// The directory as a whole: every folder of traces with its weights.
fn found(path: &std::path::Path) -> Outcome {
    let found = models::find(path)?;
    let missing = MODELS.iter().filter(|(folder, weights, _)| {
        let (traces, weights) = (shared().join(folder), shared().join(weights));
        !found.iter().any(|model| model.traces == traces && model.weights == weights)
    });
    let mut problems: Vec<_> = missing.map(|(folder, ..)| format!("{folder}: not found")).collect();
    if found.len() != MODELS.len() {
        problems.push(format!("{} models", found.len()));
    }
    none_of(problems)
}

fn layers(
    path: &std::path::Path,
    weights: &str,
    pairs: usize,
    numerics: Numerics<'_, f32>,
) -> Outcome {
    let cases = traces::replay(path, shared().join(weights), numerics)?;
    let mut problems: Vec<_> = cases.iter().filter_map(problem).collect();
    if cases.len() != 2 * pairs {
        problems.push(format!("{} layers, expected {}", cases.len(), 2 * pairs));
    }
    none_of(problems)
}
