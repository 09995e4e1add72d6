//! Walks the layers and fills the report.

use super::{
    BatchNormReport, BlobReport, Detail, Dialect, Inspection, LayerReport, Range, ScaleReport,
    Statistics, Warning,
};
use crate::bind::Binding;
use crate::blob::Blob;
use crate::error::Result;
use crate::net::graph::Graph;
use crate::net::pairing::Pairing;
use crate::net::{Layer, Net, check};
use crate::proto::schema::Phase;
use crate::weights::{Caffemodel, WeightLayer};

/// Inspects a net, its weights, or both.
///
/// Without `net` the layers are those that the weight file describes; without `weights` only
/// settings are reported.
///
/// ```
/// use bn_caffe::{inspect::{Warning, inspect}, net::Net, proto::schema::Phase};
/// let net = Net::parse("layer { name: 'b' type: 'BatchNorm' bottom: 'x' top: 'x' batch_norm_param { eps: -1 } }")?;
/// let found = inspect(Some(&net), None, Phase::Test)?;
/// assert!(found.layers[0].warnings.contains(&Warning::NegativeEps { eps: -1.0 }));
/// # Ok::<(), bn_caffe::Error>(())
/// ```
///
/// # Errors
/// Those of [`Net::for_phase`] and [`Net::from_weights`]. Broken blobs become warnings.
pub fn inspect(
    net: Option<&Net>,
    weights: Option<&Caffemodel>,
    phase: Phase,
) -> Result<Inspection> {
    let net = match (net, weights) {
        (Some(net), _) => net.for_phase(phase)?,
        // Its rules of inclusion were applied when it was written.
        (None, Some(weights)) => Net::from_weights(weights)?,
        (None, None) => Net::default(),
    };
    let nothing = Caffemodel::default();
    let binding = Binding::by_name(&net, weights.unwrap_or(&nothing));
    let graph = Graph::of(&net);
    let pairings = Pairing::all(&net, &graph);

    let mut layers: Vec<LayerReport> = net
        .layers
        .iter()
        .zip(&binding.layers)
        .map(|(layer, stored)| report(layer, *stored, weights.is_some(), phase))
        .collect();
    let name = |layer: usize| net.layers[layer].name().to_owned();
    for pair in &pairings {
        connect(&mut layers, pair, &graph, name);
    }

    let mut warnings = Vec::new();
    for unknown in net.unknown.iter().take(20) {
        warnings.push(Warning::Refused {
            problem: format!(
                "field \"{}\" in {}, which BVLC Caffe does not have",
                unknown.field, unknown.message
            ),
        });
    }
    if let Some(weights) = weights {
        let train = weights
            .layers()
            .filter_map(|l| l.parameter().ok())
            .filter(|p| p.phase == Some(Phase::Train as i32))
            .count();
        if train > 0 {
            warnings.push(Warning::TrainPhaseStored { layers: train });
        }
    }
    let unused: Vec<_> = binding.unused.iter().filter(|l| l.blob_count() > 0).collect();
    if let Some(first) = unused.first() {
        warnings
            .push(Warning::UnusedWeights { count: unused.len(), first: first.name().to_owned() });
    }
    Ok(Inspection { net: net.name, phase, layers, warnings })
}

/// Reports one layer without its neighbours.
fn report(layer: &Layer, stored: Option<&WeightLayer>, weights: bool, phase: Phase) -> LayerReport {
    let mut warnings = Vec::new();
    let refused = |e: crate::Error| Warning::Refused { problem: e.to_string() };
    let blobs = match stored.map(WeightLayer::blobs) {
        Some(Ok(blobs)) => blobs,
        Some(Err(e)) => {
            warnings.push(refused(e));
            Vec::new()
        }
        None => Vec::new(),
    };
    match (layer.blob_count(), stored) {
        (Some(expected), Some(stored)) if stored.blob_count() != expected => {
            warnings.push(Warning::BlobCount { found: stored.blob_count(), expected });
        }
        (Some(1..), None) if weights => warnings.push(Warning::NoWeights),
        _ => {}
    }
    let detail = match layer.type_name() {
        "BatchNorm" => Detail::BatchNorm(batch_norm(layer, &blobs, phase, &mut warnings)),
        "Scale" => {
            let p = layer.scale();
            let detail = scale(layer, p.axis(), p.num_axes(), p.bias_term(), &blobs, &mut warnings);
            Detail::Scale(detail)
        }
        "Bias" => {
            let p = layer.bias();
            let mut detail = scale(layer, p.axis(), p.num_axes(), true, &blobs, &mut warnings);
            detail.bias = detail.factor.take();
            Detail::Bias(detail)
        }
        "BN" => {
            warnings.push(Warning::Dialect { dialect: Dialect::Bn });
            Detail::Other
        }
        _ => Detail::Other,
    };
    if matches!(detail, Detail::BatchNorm(_) | Detail::Scale(_) | Detail::Bias(_)) {
        let checks = [check::parameters(&layer.parameter), check::connections(&layer.parameter)];
        warnings.extend(checks.into_iter().filter_map(Result::err).map(refused));
    }
    LayerReport {
        name: layer.name().to_owned(),
        type_name: layer.type_name().to_owned(),
        bottoms: layer.bottoms().to_vec(),
        tops: layer.tops().to_vec(),
        blobs: blobs
            .iter()
            .map(|b| BlobReport {
                shape: b.shape().dims().to_vec(),
                legacy: b.shape().is_legacy(),
                element: b.element(),
            })
            .collect(),
        detail,
        warnings,
    }
}

fn batch_norm(
    layer: &Layer,
    blobs: &[Blob],
    phase: Phase,
    warnings: &mut Vec<Warning>,
) -> BatchNormReport {
    let p = layer.batch_norm();
    if p.eps() < 0.0 {
        warnings.push(Warning::NegativeEps { eps: p.eps() });
    }
    if !(0.0..=1.0).contains(&p.moving_average_fraction()) {
        warnings.push(Warning::FractionOutOfRange { fraction: p.moving_average_fraction() });
    }
    if phase == Phase::Test && p.use_global_stats == Some(false) {
        warnings.push(Warning::BatchStatisticsInTest);
    }
    let statistics = match blobs {
        [mean, variance, factor] => {
            for (what, blob, expected) in
                [("blob 1 (variance)", variance, mean.len()), ("blob 2 (scale factor)", factor, 1)]
            {
                if blob.len() != expected {
                    let (what, found) = (what.to_owned(), blob.len());
                    warnings.push(Warning::Channels { what, found, expected });
                }
            }
            Statistics::of(mean, variance, factor)
        }
        [_, _, _, _, _] => {
            warnings.push(Warning::Dialect { dialect: Dialect::NvCaffe });
            None
        }
        _ => None,
    };
    if let Some(s) = &statistics {
        if s.factor == 0.0 && s.non_zero > 0 {
            warnings.push(Warning::ZeroFactor { non_zero: s.non_zero });
        }
        if s.factor < 0.0 {
            warnings.push(Warning::NegativeFactor { factor: s.factor });
        }
        if s.negative_variances > 0 {
            warnings.push(Warning::NegativeVariance { count: s.negative_variances });
        }
        if s.non_finite > 0 {
            warnings.push(Warning::NonFinite { count: s.non_finite });
        }
    }
    BatchNormReport {
        channels: blobs.first().map(Blob::len),
        eps: p.eps(),
        fraction: p.moving_average_fraction(),
        use_global_stats: p.use_global_stats,
        uses_global_stats: layer.uses_global_stats(phase),
        statistics,
        scale: None,
        bias: None,
        in_place: false,
        other_readers: Vec::new(),
    }
}

fn scale(
    layer: &Layer,
    axis: i32,
    num_axes: i32,
    bias_term: bool,
    blobs: &[Blob],
    warnings: &mut Vec<Warning>,
) -> ScaleReport {
    let two_bottoms = layer.bottoms().len() > 1;
    if !two_bottoms && (axis, num_axes) != (1, 1) {
        warnings.push(Warning::NotPerChannel { axis, num_axes });
    }
    let mut ranges = blobs.iter().map(|b| Range::of(b.values()));
    let factor = if two_bottoms { None } else { ranges.next().flatten() };
    ScaleReport {
        axis,
        num_axes,
        bias_term,
        two_bottoms,
        factor,
        bias: ranges.next().flatten(),
        batch_norm: None,
    }
}

/// Enters who belongs to whom.
fn connect(
    layers: &mut [LayerReport],
    pair: &Pairing,
    graph: &Graph,
    name: impl Fn(usize) -> String,
) {
    let mut channels = None;
    let report = &mut layers[pair.batch_norm];
    if let Detail::BatchNorm(detail) = &mut report.detail {
        detail.scale = pair.scale.map(&name);
        detail.bias = pair.bias.map(&name);
        detail.in_place = graph.is_in_place(pair.batch_norm);
        detail.other_readers = pair.other_readers.iter().map(|&n| name(n)).collect();
        channels = detail.channels;
        if pair.scale.is_none() {
            report.warnings.push(Warning::MissingScale);
        }
        if !detail.other_readers.is_empty() {
            report.warnings.push(Warning::SharedOutput { readers: detail.other_readers.clone() });
        }
    }
    for partner in [pair.scale, pair.bias].into_iter().flatten() {
        let report = &mut layers[partner];
        if let Detail::Scale(detail) | Detail::Bias(detail) = &mut report.detail {
            detail.batch_norm = Some(name(pair.batch_norm));
        }
        let (Some(expected), Some(first)) = (channels, report.blobs.first()) else {
            continue;
        };
        let found: usize = first.shape.iter().product();
        if found != expected {
            let what = "blob 0".to_owned();
            report.warnings.push(Warning::Channels { what, found, expected });
        }
    }
}
