//! Every warning has a net that earns it, and a sound net earns none.

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::inspect::{Detail, Dialect, Inspection, Warning, inspect};
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::weights::{Caffemodel, WeightLayer};

fn layer(name: &str, blobs: &[&[f32]]) -> WeightLayer {
    let blobs: Vec<Blob> = blobs
        .iter()
        .map(|v| Blob::from_f32(Shape::new([v.len()]).expect("small"), v).expect("fits"))
        .collect();
    WeightLayer::new(name, "", &blobs)
}

/// A net of BatchNorm `bn` and, unless told otherwise, Scale `s`.
fn look(settings: &str, scale: &str, layers: Vec<WeightLayer>, phase: Phase) -> Inspection {
    let net = Net::parse(format!(
        "layer {{ name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' {settings} }} {scale}"
    ))
    .expect("a net");
    let mut weights = Caffemodel::default();
    layers.into_iter().for_each(|l| weights.push(l));
    inspect(Some(&net), Some(&weights), phase).expect("a net")
}

const SCALE: &str =
    "layer { name: 's' type: 'Scale' bottom: 'x' top: 'x' scale_param { bias_term: true } }";

fn sound() -> Vec<WeightLayer> {
    vec![layer("bn", &[&[4.0, 2.0], &[1.0, 8.0], &[2.0]]), layer("s", &[&[1.0, -1.0], &[0.0, 3.0]])]
}

fn with_bn(blobs: &[&[f32]]) -> Vec<WeightLayer> {
    let mut layers = sound();
    layers[0] = layer("bn", blobs);
    layers
}

/// Warnings of the layer `bn`.
fn of_bn(found: &Inspection) -> &[Warning] {
    &found.layers[0].warnings
}

#[test]
fn a_sound_net_is_reported_without_warnings() {
    let found = look("", SCALE, sound(), Phase::Test);
    assert!(found.warnings.is_empty());
    assert!(found.layers.iter().all(|l| l.warnings.is_empty()), "{found:?}");
    let Detail::BatchNorm(bn) = &found.layers[0].detail else { panic!("{found:?}") };
    assert_eq!((bn.channels, bn.scale.as_deref(), bn.in_place), (Some(2), Some("s"), true));
    assert_eq!(bn.statistics.and_then(|s| s.mean).map(|r| (r.min, r.max)), Some((1.0, 2.0)));
    assert_eq!(bn.statistics.and_then(|s| s.variance).map(|r| (r.min, r.max)), Some((0.5, 4.0)));
    assert!(bn.uses_global_stats);
    let Detail::Scale(scale) = &found.layers[1].detail else { panic!("{found:?}") };
    assert_eq!(scale.batch_norm.as_deref(), Some("bn"));
    assert_eq!(scale.factor.map(|r| (r.min, r.max)), Some((-1.0, 1.0)));
    assert_eq!(scale.bias.map(|r| (r.min, r.max)), Some((0.0, 3.0)));

    let train = look("", SCALE, sound(), Phase::Train);
    let Detail::BatchNorm(bn) = &train.layers[0].detail else { panic!("{train:?}") };
    assert!(!bn.uses_global_stats && bn.use_global_stats.is_none());
}

#[test]
fn settings_that_nobody_means_are_warned_of() {
    let settings =
        "batch_norm_param { eps: -1 moving_average_fraction: 7 use_global_stats: false }";
    let found = look(settings, SCALE, sound(), Phase::Test);
    assert_eq!(
        of_bn(&found),
        [
            Warning::NegativeEps { eps: -1.0 },
            Warning::FractionOutOfRange { fraction: 7.0 },
            Warning::BatchStatisticsInTest,
        ]
    );
    let found = look("batch_norm_param { use_global_stats: false }", SCALE, sound(), Phase::Train);
    assert!(of_bn(&found).is_empty());
}

#[test]
fn values_that_cannot_be_meant_are_warned_of() {
    for (blobs, expected) in [
        ([&[1.0f32, 0.0][..], &[1.0, 1.0], &[0.0]], vec![Warning::ZeroFactor { non_zero: 3 }]),
        ([&[0.0, 0.0], &[0.0, 0.0], &[0.0]], vec![]),
        (
            [&[1.0, 1.0], &[1.0, 1.0], &[-1.0]],
            vec![Warning::NegativeFactor { factor: -1.0 }, Warning::NegativeVariance { count: 2 }],
        ),
        ([&[1.0, 1.0], &[-1.0, 1.0], &[1.0]], vec![Warning::NegativeVariance { count: 1 }]),
        ([&[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[1.0]], vec![Warning::NonFinite { count: 2 }]),
        (
            [&[1.0, 1.0], &[1.0], &[1.0]],
            vec![Warning::Channels { what: "blob 1 (variance)".into(), found: 1, expected: 2 }],
        ),
    ] {
        let found = look("", SCALE, with_bn(&blobs), Phase::Test);
        assert_eq!(of_bn(&found), expected, "{blobs:?}");
    }
}

#[test]
fn partners_that_are_missing_or_do_not_fit_are_warned_of() {
    let found = look("", "", sound(), Phase::Test);
    assert_eq!(of_bn(&found), [Warning::MissingScale]);
    assert_eq!(found.warnings, [Warning::UnusedWeights { count: 1, first: "s".into() }]);

    let branch = format!("layer {{ name: 'r' type: 'ReLU' bottom: 'x' top: 'r' }} {SCALE}");
    let found = look("", &branch, sound(), Phase::Test);
    assert_eq!(of_bn(&found), [Warning::SharedOutput { readers: vec!["r".into()] }]);

    let found = look("", SCALE, with_bn(&[&[1.0; 3], &[1.0; 3], &[1.0]]), Phase::Test);
    let wrong = Warning::Channels { what: "blob 0".into(), found: 2, expected: 3 };
    assert_eq!(found.layers[1].warnings, [wrong]);

    let whole = SCALE.replace("bias_term: true", "axis: 0 num_axes: -1 bias_term: true");
    let found = look("", &whole, sound(), Phase::Test);
    assert_eq!(found.layers[1].warnings, [Warning::NotPerChannel { axis: 0, num_axes: -1 }]);

    let found = look("", SCALE, sound().split_off(1), Phase::Test);
    assert_eq!(of_bn(&found), [Warning::NoWeights]);
}

#[test]
fn dialects_are_named() {
    let one: &[f32] = &[1.0];
    let found = look("", SCALE, with_bn(&[one; 5]), Phase::Test);
    let dialect = Warning::Dialect { dialect: Dialect::NvCaffe };
    assert_eq!(of_bn(&found), [Warning::BlobCount { found: 5, expected: 3 }, dialect]);

    let bn = "layer { name: 'b' type: 'BN' bottom: 'x' top: 'y' bn_param { } }";
    let found = look("", &format!("{SCALE} {bn}"), sound(), Phase::Test);
    assert_eq!(found.layers[2].warnings, [Warning::Dialect { dialect: Dialect::Bn }]);
    assert!(matches!(&found.warnings[..], [Warning::Refused { .. }]), "the field of the fork");
}
