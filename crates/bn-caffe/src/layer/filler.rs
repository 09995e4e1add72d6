//! How learned blobs start: constants, and numbers drawn from Caffe's distributions.
//!
//! Caffe draws from a generator that it seeds by the clock unless a solver says otherwise, so no two
//! runs of it agree; here the numbers follow from the layer's name and are the same on every run.

use crate::error::{Error, Result};
use crate::proto::schema::{FillerParameter, LayerParameter, VarianceNorm};

/// Values for a blob of some shape.
///
/// With fan_in = count/shape₀ and fan_out = count/shape₁ (count for one axis), n being one of them
/// or their mean:
///
/// | kind | values |
/// |---|---|
/// | constant | `value` |
/// | uniform | uniform from `min` to `max` |
/// | gaussian | normal of `mean` and `std`; with `sparse` k, 0 with probability 1 − k/shape₀ |
/// | `positive_unitball` | uniform from 0 to 1, each row of the first axis divided by its sum |
/// | xavier | uniform from −√(3/n) to √(3/n) |
/// | msra | normal of deviation √(2/n) |
/// | bilinear | the kernel of bilinear interpolation; four axes, the last two equal |
///
/// # Errors
/// [`Error::Layer`] where Caffe aborts: an unknown kind, `min` above `max`, a deviation that is not
/// positive, a shape that the kind does not take.
pub(super) fn fill(
    layer: &LayerParameter,
    which: &str,
    filler: &FillerParameter,
    shape: &[usize],
) -> Result<Vec<f32>> {
    let wrong = |field: &str, found: String, expected: &str| {
        let parameter = format!("{which}.{field}");
        Err(Error::layer(layer.name(), layer.type_name(), parameter, found, expected))
    };
    let count: usize = shape.iter().product();
    let kind = filler.kind();
    let seed =
        format!("{}/{which}", layer.name()).bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mut random = fastrand::Rng::with_seed(seed);
    let needs_axes = matches!(kind, "positive_unitball" | "xavier" | "msra");
    if (needs_axes || filler.sparse() >= 0) && kind != "constant" && shape.is_empty() {
        return wrong("type", format!("\"{kind}\" for a scalar"), "a blob of one axis or more");
    }
    let n = || {
        let fan_in = count as f32 / shape[0] as f32;
        let fan_out = shape.get(1).map_or(count as f32, |&second| count as f32 / second as f32);
        match filler.variance_norm() {
            VarianceNorm::FanIn => fan_in,
            VarianceNorm::FanOut => fan_out,
            VarianceNorm::Average => (fan_in + fan_out) / 2.0,
        }
    };
    Ok(match kind {
        "constant" => vec![filler.value(); count],
        "uniform" => {
            let (min, max) = (filler.min(), filler.max());
            if min > max || !min.is_finite() || !max.is_finite() {
                return wrong("min", min.to_string(), "a number up to max");
            }
            (0..count).map(|_| uniform(&mut random, min, max)).collect()
        }
        "gaussian" => {
            if filler.std.is_some() && (filler.std() <= 0.0 || !filler.std().is_finite()) {
                return wrong("std", filler.std().to_string(), "a positive number");
            }
            let kept = match filler.sparse() {
                ..0 => 1.0,
                sparse => sparse as f32 / shape[0] as f32,
            };
            (0..count)
                .map(|_| {
                    let value = normal(&mut random, filler.mean(), filler.std());
                    if random.f32() < kept { value } else { 0.0 }
                })
                .collect()
        }
        "positive_unitball" => {
            let mut values: Vec<f32> = (0..count).map(|_| random.f32()).collect();
            for row in values.chunks_mut((count / shape[0].max(1)).max(1)) {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|value| *value /= sum);
            }
            values
        }
        "xavier" => {
            let limit = (3.0 / n()).sqrt();
            (0..count).map(|_| uniform(&mut random, -limit, limit)).collect()
        }
        "msra" => {
            let deviation = (2.0 / n()).sqrt();
            (0..count).map(|_| normal(&mut random, 0.0, deviation)).collect()
        }
        "bilinear" => match *shape {
            [_, _, height, width] if height == width => {
                let (scale, centre) = (width.div_ceil(2) as f32, (width as f32 - 1.0) / 2.0);
                let of = |at: usize| 1.0 - ((at as f32 - centre) / scale).abs();
                (0..count).map(|i| of(i % width) * of(i / width % height)).collect()
            }
            _ => {
                let found = format!("\"bilinear\" for shape {shape:?}");
                return wrong("type", found, "four axes, the last two equal");
            }
        },
        other => {
            let expected = format!("one of {}", FillerParameter::KINDS.join(", "));
            return wrong("type", format!("\"{other}\""), &expected);
        }
    })
}

fn uniform(random: &mut fastrand::Rng, min: f32, max: f32) -> f32 {
    (f64::from(min) + random.f64() * (f64::from(max) - f64::from(min))) as f32
}

/// By Box and Muller's transform of two uniform numbers.
fn normal(random: &mut fastrand::Rng, mean: f32, deviation: f32) -> f32 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    let value = radius * (std::f64::consts::TAU * random.f64()).cos();
    (f64::from(mean) + f64::from(deviation) * value) as f32
}
