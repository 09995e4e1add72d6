//! Fillers: the distributions of Caffe's, the same numbers on every run, its refusals.

use bn_caffe::layer::{Learned, Numerics, Scale};
use bn_caffe::proto::schema::LayerParameter;
use bn_caffe::text::{Document, read};

fn layer(filler: &str, axes: &str) -> LayerParameter {
    let text = format!(
        "name: 's' type: 'Scale' bottom: 'x' top: 'y' scale_param {{ {axes} filler {{ {filler} }} }}"
    );
    read::layer(Document::parse(text).unwrap().root()).unwrap().0
}

/// The factor of a Scale over 1000 channels, or over a whole input.
fn filled(filler: &str, axes: &str, shape: &[usize]) -> Result<Vec<f64>, String> {
    let layer = layer(filler, axes);
    let scale =
        Scale::<f64>::new(&layer, shape, None, Numerics::Exact).map_err(|e| e.to_string())?;
    let Learned { factor, .. } = scale.initial().map_err(|e| e.to_string())?;
    Ok(factor.unwrap().value)
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt())
}

const SHAPE: [usize; 2] = [1, 10_000];

fn check(filler: &str, mean: f64, deviation: f64) {
    let values = filled(filler, "", &SHAPE).unwrap();
    let (found, spread) = moments(&values);
    assert!((found - mean).abs() < 0.05 * deviation, "{filler}: mean {found}");
    assert!((spread / deviation - 1.0).abs() < 0.05, "{filler}: deviation {spread}");
    assert_eq!(values, filled(filler, "", &SHAPE).unwrap(), "{filler}: not the same again");
}

#[test]
fn random_fillers_have_their_distributions() {
    check("type: 'uniform' min: 2 max: 4", 3.0, 2.0 / 12f64.sqrt());
    check("type: 'gaussian' mean: 5 std: 0.5", 5.0, 0.5);
    // One axis: fan_in = 1, fan_out = 10,000.
    check("type: 'xavier'", 0.0, 1.0);
    check("type: 'xavier' variance_norm: FAN_OUT", 0.0, 0.01);
    check("type: 'msra'", 0.0, 2f64.sqrt());
    check("type: 'msra' variance_norm: AVERAGE", 0.0, (2.0 / 5000.5f64).sqrt());
    // Half of the values are 0.
    check("type: 'gaussian' sparse: 5000", 0.0, 0.5f64.sqrt());
}

#[test]
fn other_fillers_have_their_values() {
    assert_eq!(filled("", "", &[1, 2]).unwrap(), [0.0; 2]);
    assert_eq!(filled("value: 3", "", &[1, 2]).unwrap(), [3.0; 2]);
    let rows = filled("type: 'positive_unitball'", "axis: 0 num_axes: 2", &[3, 4]).unwrap();
    for row in rows.chunks(4) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6 && row.iter().all(|&v| v >= 0.0));
    }
    let kernel = filled("type: 'bilinear'", "axis: 0 num_axes: -1", &[1, 1, 4, 4]).unwrap();
    assert_eq!(kernel[..4], [0.0625, 0.1875, 0.1875, 0.0625]);
    let kernel = filled("type: 'bilinear'", "axis: 0 num_axes: -1", &[1, 1, 3, 3]).unwrap();
    assert_eq!(kernel, [0.25, 0.5, 0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 0.25]);
}

#[test]
fn what_caffes_fillers_refuse_is_refused() {
    for (filler, axes, words) in [
        ("type: 'uniform' min: 2 max: 1", "", ["filler.min", "up to max"]),
        ("type: 'gaussian' std: 0", "", ["filler.std", "positive"]),
        ("type: 'bilinear'", "", ["filler.type", "four axes"]),
        ("type: 'xavier'", "num_axes: 0", ["filler.type", "scalar"]),
        ("type: 'laplace'", "", ["filler.type", "gaussian"]),
    ] {
        let error = filled(filler, axes, &[1, 4]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
