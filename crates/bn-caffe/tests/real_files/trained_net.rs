//! A net trained by Caffe, its weights saved in every way that files have.

use std::path::Path;

use bn_caffe::bind::Binding;
use bn_caffe::blob::Element;
use bn_caffe::inspect::{Detail, Warning, inspect};
use bn_caffe::net::{Net, check};
use bn_caffe::proto::schema::Phase;
use bn_caffe::weights::Caffemodel;
use libtest_mimic::{Failed, Trial};

use crate::{Outcome, ensure, trial};

const FOLDER: &str = "oracle/trained_net";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("trained_net::variants_hold_the_same_values", FOLDER, variants),
        trial("trained_net::round_trips", FOLDER, round_trips),
        trial("trained_net::inspection", FOLDER, inspection),
        trial("trained_net::diffs_are_read", FOLDER, diffs),
    ];
    for file in ["net_iter_200.caffemodel.h5", "net_double.caffemodel.h5"] {
        trials.push(trial(format!("trained_net::{file}"), FOLDER, move |path| hdf5(path, file)));
    }
    trials
}

type Values = Vec<(String, Vec<Vec<f32>>)>;

/// Every blob of every layer that has some, sorted by layer.
fn values(path: &Path, file: &str) -> Result<Values, Failed> {
    let weights = Caffemodel::read(path.join(file))?;
    let mut all: Values = Vec::new();
    for layer in weights.layers().filter(|l| l.blob_count() > 0) {
        let blobs = layer.blobs()?.iter().map(|b| b.to_f32()).collect();
        all.push((layer.name().to_owned(), blobs));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn variants(path: &Path) -> Outcome {
    let expected = values(path, "net_iter_200.caffemodel")?;
    ensure(expected.len() == 12, || format!("{} layers with blobs", expected.len()))?;
    for file in ["net_legacy_dims.caffemodel", "net_unpacked.caffemodel", "net_double.caffemodel"] {
        ensure(values(path, file)? == expected, || format!("{file} differs"))?;
    }
    let double = Caffemodel::read(path.join("net_double.caffemodel"))?;
    let conv = double.layer("conv1").ok_or("no conv1")?.blob(0)?;
    ensure(conv.element() == Element::F64, || "not double".into())?;
    let legacy = Caffemodel::read(path.join("net_legacy_dims.caffemodel"))?;
    let mean = legacy.layer("conv1_bn").ok_or("no conv1_bn")?.blob(0)?;
    ensure(mean.shape().is_legacy() && mean.shape().loads_into(&[6]), || "legacy".into())
}

/// Every file comes back byte for byte unchanged; with its blobs set to what they are, every file
/// but the unpacked one, whose values are packed then.
fn round_trips(path: &Path) -> Outcome {
    for file in [
        "net_double.caffemodel",
        "net_iter_200.caffemodel",
        "net_iter_3_with_diff.caffemodel",
        "net_itersize2_iter_100.caffemodel",
        "net_legacy_dims.caffemodel",
        "net_unpacked.caffemodel",
    ] {
        let bytes = std::fs::read(path.join(file))?;
        let mut weights = Caffemodel::parse(bytes.clone())?;
        ensure(weights.to_bytes() == bytes, || format!("{file} differs"))?;
        let before: Result<Vec<_>, _> = weights.layers().map(|l| l.blobs()).collect();
        for layer in weights.layers_mut() {
            let blobs = layer.blobs()?;
            layer.set_blobs(&blobs)?;
        }
        let again = Caffemodel::parse(weights.to_bytes())?;
        let after: Result<Vec<_>, _> = again.layers().map(|l| l.blobs()).collect();
        ensure(before? == after?, || format!("{file}: blobs differ after rewriting"))?;
    }
    Ok(())
}

fn inspection(path: &Path) -> Outcome {
    let net = Net::read(path.join("deploy.prototxt"))?;
    check::net(&net.for_phase(Phase::Test)?)?;
    let weights = Caffemodel::read(path.join("net_iter_200.caffemodel"))?;
    Binding::new(&net, &weights)?;
    let found = inspect(Some(&net), Some(&weights), Phase::Test)?;
    let trained = |w: &Warning| matches!(w, Warning::TrainPhaseStored { .. });
    ensure(found.warnings.iter().any(trained), || "phase TRAIN not noticed".into())?;
    let mut batch_norms = Vec::new();
    for layer in &found.layers {
        ensure(layer.warnings.is_empty(), || format!("{}: {:?}", layer.name, layer.warnings))?;
        let Detail::BatchNorm(bn) = &layer.detail else {
            continue;
        };
        ensure(bn.uses_global_stats, || format!("{}: batch statistics", layer.name))?;
        let factor = bn.statistics.ok_or("no statistics")?.factor;
        batch_norms.push((layer.name.as_str(), bn.scale.as_deref(), bn.eps, factor));
    }
    let (eps, name) = (1e-5, |bn: &str| bn.replace("_bn", "_scale"));
    ensure(batch_norms.len() == 4, || format!("{} BatchNorm layers", batch_norms.len()))?;
    for (bn, scale, found, factor) in &batch_norms {
        ensure(*scale == Some(name(bn).as_str()), || format!("{bn}: {scale:?}"))?;
        ensure(*found == if *bn == "conv1_bn" { 1e-3 } else { eps }, || format!("{bn}: eps"))?;
        // 200 updates; with a fraction of 0.9 the factor has reached its fixed point in f32.
        let fixed = *bn == "data_bn";
        ensure(!fixed || *factor == 9.999_993_324_279_785, || format!("{bn}: {factor}"))?;
    }
    Ok(())
}

fn diffs(path: &Path) -> Outcome {
    let weights = Caffemodel::read(path.join("net_iter_3_with_diff.caffemodel"))?;
    let conv = weights.layer("conv1").ok_or("no conv1")?.blob(0)?;
    let diff = conv.diff().ok_or("no diff")?;
    ensure(diff.len() == conv.len() && diff.clone().any(|v| v != 0.0), || "diff".into())?;
    let bn = weights.layer("conv1_bn").ok_or("no conv1_bn")?.blob(0)?;
    ensure(bn.diff().is_none_or(|mut d| d.all(|v| v == 0.0)), || "statistics have a diff".into())
}

#[cfg(feature = "hdf5")]
fn hdf5(path: &Path, file: &str) -> Outcome {
    let expected = values(path, "net_iter_200.caffemodel")?;
    ensure(values(path, file)? == expected, || format!("{file} differs"))
}

#[cfg(not(feature = "hdf5"))]
fn hdf5(path: &Path, file: &str) -> Outcome {
    let refused = Caffemodel::read(path.join(file)).err().ok_or("was read")?.to_string();
    ensure(refused.contains("HDF5") && refused.contains("feature"), || refused)
}
