//! Every BatchNorm and Scale layer of four published nets.

use bn_caffe::layer::Numerics;
use bn_caffe::oracle::traces;
use bn_naive::NaiveBackend;
use libtest_mimic::Trial;

use crate::runs::problem;
use crate::{Outcome, none_of, shared, trial};

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
    let trials = MODELS.iter().flat_map(|&(folder, weights, pairs)| {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        [("exact", Numerics::Exact), ("on_a_backend", Numerics::Fast(&NaiveBackend))].map(
            |(how, numerics)| {
                trial(format!("layers_of_{name}_{how}"), folder, move |path| {
                    layers(path, weights, pairs, numerics)
                })
            },
        )
    });
    trials.collect()
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
