//! Compares weights with a listing of layers, shapes and statistics.

use std::collections::BTreeMap;

use bn_caffe::inspect::{Detail, inspect};
use bn_caffe::net::Net;
use bn_caffe::proto::schema::Phase;
use bn_caffe::weights::{Caffemodel, WeightLayer};
use serde_json::Value;

use crate::{Outcome, ensure};

pub fn compare(weights: &Caffemodel, listing: &Value) -> Outcome {
    let count = weights.layers().count();
    ensure(listing["n_layer_v2"].as_u64() == Some(count as u64), || format!("{count} layers"))?;
    ensure(listing["net_name"].as_str() == Some(weights.net().name()), || "name".into())?;
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in weights.layers() {
        *types.entry(layer.type_name()).or_default() += 1;
    }
    for (kind, count) in listing["types"].as_object().ok_or("no types")? {
        ensure(types.get(kind.as_str()) == count.as_u64().as_ref(), || format!("type {kind}"))?;
    }
    for entry in listing["bn"].as_array().into_iter().chain(listing["scale"].as_array()).flatten() {
        let name = entry["name"].as_str().ok_or("no name")?;
        let layer = weights.layer(name).ok_or_else(|| format!("no layer {name}"))?;
        same_shapes(layer, &entry["shapes"])?;
    }
    statistics(weights, listing)
}

fn same_shapes(layer: &WeightLayer, expected: &Value) -> Outcome {
    for (index, expected) in expected.as_array().into_iter().flatten().enumerate() {
        let blob = layer.blob(index)?;
        let expected: Vec<usize> = serde_json::from_value(expected.clone())?;
        ensure(blob.shape().dims() == expected, || format!("{} {index}", layer.name()))?;
    }
    Ok(())
}

/// Settings and statistics as the weight file alone gives them.
fn statistics(weights: &Caffemodel, listing: &Value) -> Outcome {
    let net = Net::from_weights(weights)?;
    let found = inspect(None, Some(weights), Phase::Test)?;
    for entry in listing["bn"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().ok_or("no name")?;
        let layer = net.layer(name).ok_or("not in the net")?;
        let report = found.layers.iter().find(|l| l.name == name).ok_or("not reported")?;
        let Detail::BatchNorm(bn) = &report.detail else {
            return Err(name.into());
        };
        let s = bn.statistics.as_ref().ok_or("no statistics")?;
        let (mean, variance) = (s.mean.ok_or("no mean")?, s.variance.ok_or("no variance")?);
        for (key, value) in [
            ("scale_factor", s.factor),
            ("eps", f64::from(bn.eps)),
            ("maf", f64::from(bn.fraction)),
            ("var_min", variance.min),
            ("var_max", variance.max),
            ("mean_absmax", mean.abs_max()),
        ] {
            let expected = entry[key].as_f64();
            ensure(expected == Some(value), || format!("{name} {key}: {value}, {expected:?}"))?;
        }
        let says = bn.use_global_stats;
        ensure(entry["use_global_stats"].as_bool() == says, || format!("{name}: {says:?}"))?;
        let params = layer.parameter.param.len() as u64;
        ensure(entry["n_param"].as_u64() == Some(params), || format!("{name}: {params}"))?;
        let phase = layer.parameter.phase.map(i64::from);
        ensure(entry["phase"].as_i64() == phase, || format!("{name}: phase {phase:?}"))?;
        for (key, names) in [("bottom", layer.bottoms()), ("top", layer.tops())] {
            let expected: Vec<String> = serde_json::from_value(entry[key].clone())?;
            ensure(expected == names, || format!("{name}: {key}"))?;
        }
    }
    Ok(())
}
