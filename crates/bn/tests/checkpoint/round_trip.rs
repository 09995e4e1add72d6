//! What is saved is what is loaded.

use std::io::Cursor;
use std::sync::Arc;

use bn::checkpoint::{Reader, Writer};
use bn::naive::NaiveBackend;
use bn::{BatchNorm, Builder, Element, Error, Layout, Mode, Momentum, bf16, f16};
use ndarray::Array2;

use crate::layers::{builder, parameters, trained};

fn survives<T: Element>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bn.safetensors");
    for builder in [
        builder::<T>(),
        builder().without_gamma(),
        builder().without_beta(),
        builder().without_affine(),
        builder().momentum(Momentum::Cumulative),
        builder().momentum(Momentum::Old(0.9)),
    ] {
        let layer = trained(builder.clone());
        layer.save(&path).unwrap();
        let mut loaded = builder.build_with(Arc::new(NaiveBackend)).unwrap();
        loaded.load(&path).unwrap();
        assert_eq!(parameters(&loaded), parameters(&layer));
        assert_eq!(loaded.running(), layer.running());
    }
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["bn.safetensors"], "no temporary file stays behind");
}

#[test]
fn f32_survives() {
    survives::<f32>();
}

#[test]
fn f64_survives() {
    survives::<f64>();
}

#[test]
fn half_types_survive() {
    survives::<f16>();
    survives::<bf16>();
}

#[test]
fn the_tensors_are_those_of_pytorch() {
    let bytes = {
        let mut writer = Writer::new();
        writer.add("", &trained(builder::<f32>())).unwrap();
        writer.to_bytes().unwrap()
    };
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.dtype(), tensor.shape().to_vec()))
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let (float, int) = (safetensors::Dtype::F32, safetensors::Dtype::I64);
    assert_eq!(
        tensors,
        [
            ("bias".to_owned(), float, vec![3]),
            ("num_batches_tracked".to_owned(), int, vec![]),
            ("running_mean".to_owned(), float, vec![3]),
            ("running_var".to_owned(), float, vec![3]),
            ("weight".to_owned(), float, vec![3]),
        ]
    );
    assert_eq!(file.tensor("num_batches_tracked").unwrap().data(), 2i64.to_le_bytes());
}

#[test]
fn many_layers_share_a_file_by_prefix() {
    let first = trained(builder::<f32>());
    let second = trained(builder::<f32>().momentum(Momentum::New(0.5)));
    let mut writer = Writer::new();
    writer.add("layer1.0.bn1.", &first).unwrap();
    writer.add("layer1.0.bn2.", &second).unwrap();
    let twice = writer.add("layer1.0.bn1.", &second).unwrap_err();
    assert!(twice.to_string().starts_with("tensor layer1.0.bn1.weight: added twice"), "{twice}");

    let mut reader = Reader::new(Cursor::new(writer.to_bytes().unwrap())).unwrap();
    assert_eq!(reader.names().len(), 10);
    for (prefix, expected) in [("layer1.0.bn2.", &second), ("layer1.0.bn1.", &first)] {
        let mut layer = builder::<f32>().build_with(Arc::new(NaiveBackend)).unwrap();
        reader.restore(prefix, &mut layer).unwrap();
        assert_eq!(layer.running(), expected.running());
        assert_eq!(parameters(&layer), parameters(expected));
    }
    let mut layer = builder::<f32>().build_with(Arc::new(NaiveBackend)).unwrap();
    let missing = reader.restore("layer1.0.bn3.", &mut layer).unwrap_err();
    assert!(missing.to_string().starts_with("tensor layer1.0.bn3.weight: not in the file"));
}

#[test]
fn caffes_sums_travel_as_averages() {
    let caffe = || -> Builder<f64> { builder().momentum(Momentum::CaffeSum(0.9)) };
    let layer = trained(caffe());
    let mut writer = Writer::new();
    writer.add("", &layer).unwrap();
    let mut reader = Reader::new(Cursor::new(writer.to_bytes().unwrap())).unwrap();

    let x = Array2::from_shape_fn((4, 3), |(n, c)| n as f64 - 0.5 * c as f64);
    let expected = layer.infer(&x).unwrap();
    for builder in [caffe(), builder()] {
        let mut loaded = builder.build_with(Arc::new(NaiveBackend)).unwrap();
        reader.restore("", &mut loaded).unwrap();
        let y = loaded.infer(&x).unwrap();
        assert!((&y - &expected).iter().all(|d| d.abs() < 1e-13));
        assert_eq!(loaded.running().unwrap().seen().batches, 2);
    }
}

#[test]
fn saving_replaces_a_file_whole_or_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bn.safetensors");
    std::fs::write(&path, "what was there").unwrap();
    trained(builder::<f32>()).save(&path).unwrap();
    let mut loaded = builder::<f32>().build_with(Arc::new(NaiveBackend)).unwrap();
    loaded.load(&path).unwrap();

    let nowhere = folder.path().join("no-such-folder").join("bn.safetensors");
    let error = loaded.save(&nowhere).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
    // A folder where the file should be: nothing takes its place and nothing is left beside it.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(loaded.save(&taken).is_err());
    assert_eq!(folder.path().read_dir().unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_saved_file_is_as_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (saved, plain) = (folder.path().join("bn.safetensors"), folder.path().join("plain"));
    trained(builder::<f32>()).save(&saved).unwrap();
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode();
    assert_eq!(mode(&saved), mode(&plain));
}

#[test]
fn training_goes_on_as_if_nothing_had_happened() {
    let x = Array2::from_shape_fn((5, 3), |(n, c)| (n * n) as f64 - 0.25 * c as f64);
    let average = || builder::<f64>().momentum(Momentum::Cumulative);
    let mut layer: BatchNorm<f64, _> = trained(average());
    let mut writer = Writer::new();
    writer.add("", &layer).unwrap();
    let mut loaded = average().build_with(Arc::new(NaiveBackend)).unwrap();
    let mut reader = Reader::new(Cursor::new(writer.to_bytes().unwrap())).unwrap();
    reader.restore("", &mut loaded).unwrap();
    for layer in [&mut layer, &mut loaded] {
        layer.forward(&x, Mode::TRAIN).unwrap();
    }
    assert_eq!(layer.running(), loaded.running());
}

/// What no reader would take is not written, and what was written before stays.
#[test]
fn statistics_that_met_a_nan_are_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.safetensors");
    let mut layer = BatchNorm::<f32>::builder(2, Layout::ChannelsFirst).build().unwrap();
    layer.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let x = ndarray::arr2(&[[1.0, f32::NAN], [2.0, 3.0]]);
    layer.forward(&x, Mode::TRAIN).unwrap();
    let error = layer.save(&path).unwrap_err().to_string();
    assert!(error.contains("running_mean") && error.contains("channel 1"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
