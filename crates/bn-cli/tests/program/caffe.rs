//! `bn caffe`: by its files, its output and its exit status.

use std::fs;
use std::path::Path;

use bn_caffe::blob::{Blob, Shape};
use bn_caffe::weights::{Caffemodel, WeightLayer};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::bn_with;
use crate::files::{names_in, values, write};

const FOLDABLE: &str = "name: 'net' # mine
layer { name: 'data' type: 'Input' top: 'x' }
layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'y'
        convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
layer { name: 'bn' type: 'BatchNorm' bottom: 'y' top: 'y' }
layer { name: 'scale' type: 'Scale' bottom: 'y' top: 'y' scale_param { bias_term: true } }
";

const RUNNABLE: &str = "layer { name: 'data' type: 'Input' top: 'x' }
layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' }
layer { name: 'scale' type: 'Scale' bottom: 'x' top: 'y' scale_param { bias_term: true } }
";

fn blob(dims: &[usize], values: &[f32]) -> Blob {
    Blob::from_f32(Shape::new(dims).unwrap(), values).unwrap()
}

fn model() -> Caffemodel {
    let mut weights = Caffemodel::default();
    let kernel = blob(&[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    weights.push(WeightLayer::new("conv", "Convolution", &[kernel]));
    let statistics = [blob(&[2], &[1.0, 2.0]), blob(&[2], &[4.0, 9.0]), blob(&[1], &[2.0])];
    weights.push(WeightLayer::new("bn", "BatchNorm", &statistics));
    let learned = [blob(&[2], &[1.0, 2.0]), blob(&[2], &[3.0, 4.0])];
    weights.push(WeightLayer::new("scale", "Scale", &learned));
    weights
}

/// A directory with both nets, their weights, and an input of (3, 2, 4).
fn good() -> TempDir {
    let dir = tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("fold.prototxt"), FOLDABLE).unwrap();
    fs::write(path.join("run.prototxt"), RUNNABLE).unwrap();
    model().write(path.join("w.caffemodel")).unwrap();
    write(path, "x", "npy", &[3, 2, 4], &values::<f32>(24, 1));
    write(path, "dy", "npy", &[3, 2, 4], &values::<f32>(24, 2));
    dir
}

fn stdout(dir: &Path, line: &str) -> String {
    let output = bn_with(dir, line).assert().success().get_output().clone();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(dir: &Path, line: &str) -> Value {
    serde_json::from_str(&stdout(dir, &format!("{line} --json"))).unwrap()
}

fn refused(dir: &Path, line: &str, says: &[&str]) {
    let before = names_in(dir);
    let output = bn_with(dir, line).assert().code(2).stdout("").get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in says {
        assert!(message.contains(part), "{line}: {message:?} lacks {part:?}");
    }
    assert_eq!(names_in(dir), before, "{line} left something behind");
}

#[test]
fn inspect_shows_every_layer_and_what_is_wrong() {
    let dir = good();
    let path = dir.path();
    let text = stdout(path, "caffe inspect w.caffemodel --prototxt fold.prototxt");
    for part in ["●   bn", "2 channels", "factor 2.0000", "eps 1e-5", "Scale: scale", "2×2×1×1"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert!(!text.contains("warning"), "{text}");
    let found = json(path, "caffe inspect w.caffemodel --prototxt fold.prototxt");
    let bn = &found["layers"][2];
    assert_eq!((&bn["name"], &bn["detail"]["scale"]), (&"bn".into(), &"scale".into()));
    assert_eq!(bn["detail"]["variance"]["max"], 4.5);
    assert_eq!(found["layers"][3]["detail"]["batch_norm"], "bn");

    // A net alone, with a pitfall; and weights alone.
    let odd = FOLDABLE.replace(
        "top: 'y' }\nlayer { name: 'scale'",
        "top: 'y' batch_norm_param { \
        eps: -1 use_global_stats: false } }\nlayer { name: 'scale'",
    );
    fs::write(path.join("odd.prototxt"), odd).unwrap();
    let text = stdout(path, "caffe inspect odd.prototxt");
    assert!(text.contains("warning: bn: eps is -1") && text.contains("use_global_stats: false in"));
    assert_eq!(json(path, "caffe inspect w.caffemodel")["layers"].as_array().unwrap().len(), 3);
}

#[test]
fn run_writes_blobs_gradients_and_updated_weights() {
    let dir = good();
    let path = dir.path();
    let line = "caffe run --prototxt run.prototxt --weights w.caffemodel --input x=x.npy";
    for numerics in ["exact", "fast", "fast --backend naive", "fast --threads 1"] {
        let line = format!("{line} --numerics {numerics} --out-dir out");
        let report = json(path, &format!("{line} --phase train --top-diff y=dy.npy"));
        assert_eq!(
            names_in(&path.join("out")),
            [
                "scale.0.diff.npy",
                "scale.1.diff.npy",
                "weights.caffemodel",
                "x.diff.npy",
                "x.npy",
                "y.diff.npy",
                "y.npy"
            ]
        );
        assert_eq!(report["results"].as_array().unwrap().len(), 6);
        let updated = Caffemodel::read(path.join("out/weights.caffemodel")).unwrap();
        let factor = updated.layer("bn").unwrap().blob(2).unwrap().to_f32();
        assert_eq!(factor, [2.0f32 * 0.999 + 1.0]);
        fs::remove_dir_all(path.join("out")).unwrap();

        let text = stdout(path, &format!("{line} --phase test"));
        assert!(text.contains("3×2×4") && text.contains("phase test"), "{text}");
        assert_eq!(names_in(&path.join("out")), ["x.npy", "y.npy"]);
        fs::remove_dir_all(path.join("out")).unwrap();
    }
}

#[test]
fn fold_says_what_it_did_and_writes_both_files() {
    let dir = good();
    let path = dir.path();
    let line = "caffe fold --prototxt fold.prototxt --weights w.caffemodel --out-prototxt f.prototxt \
                --out-weights f.caffemodel";
    let text = stdout(path, line);
    assert!(text.contains("bn + scale → conv (Convolution before it, bias_term added)"), "{text}");
    assert!(text.contains("1 in all: 1 into the layer before"), "{text}");
    let net = fs::read_to_string(path.join("f.prototxt")).unwrap();
    assert!(net.starts_with("name: 'net' # mine\n") && net.contains("bias_term: true"), "{net}");
    assert!(!net.contains("BatchNorm") && !net.contains("Scale"), "{net}");
    let folded = Caffemodel::read(path.join("f.caffemodel")).unwrap();
    assert_eq!(folded.layers().count(), 1);
    assert_eq!(json(path, line)["decisions"][0]["outcome"]["bias_added"], true);
    // Folding again finds nothing to fold.
    let again = "caffe fold --prototxt f.prototxt --weights f.caffemodel --out-prototxt g.prototxt \
                 --out-weights g.caffemodel";
    assert!(stdout(path, again).starts_with("0 in all"));
    let [f, g] = ["f.caffemodel", "g.caffemodel"].map(|file| fs::read(path.join(file)).unwrap());
    assert_eq!(f, g);
}

#[test]
fn export_and_import_are_each_others_way_back() {
    let dir = good();
    let path = dir.path();
    let files = "--prototxt fold.prototxt --weights w.caffemodel";
    let text = stdout(path, &format!("caffe export {files} --out bn.safetensors"));
    assert!(text.contains("weight bias running_mean running_var"), "{text}");
    let text = stdout(
        path,
        &format!("caffe import {files} --from bn.safetensors --out-weights i.caffemodel"),
    );
    assert!(text.contains("bn: as it was") && text.contains("0 changed"), "{text}");
    let [before, after] =
        ["w.caffemodel", "i.caffemodel"].map(|file| fs::read(path.join(file)).unwrap());
    assert_eq!(before, after);
    let report = json(path, &format!("caffe export {files} --out bn.safetensors"));
    assert_eq!(report["layers"][0]["channels"], 2);
}

#[test]
fn bad_input_is_refused_and_nothing_is_written() {
    let dir = good();
    let path = dir.path();
    let run = "caffe run --prototxt run.prototxt --phase test";
    refused(path, &format!("{run} --input q=x.npy"), &["no values for input \"x\""]);
    refused(path, &format!("{run} --input x.npy"), &["BLOB=FILE"]);
    refused(path, &format!("{run} --input x=none.npy"), &["--input x=none.npy", "cannot be read"]);
    refused(path, &format!("{run} --input x=x.npy --input x=x.npy"), &["given twice"]);
    refused(path, &format!("{run} --input x=x.npy --top-diff x=dy.npy"), &["output: y"]);
    refused(path, &format!("{run} --input x=x.npy --backend rayon"), &["--numerics fast"]);
    refused(
        path,
        &format!("{run} --input x=x.npy --numerics fast --backend abacus"),
        &["abacus", "rayon"],
    );
    refused(
        path,
        "caffe run --prototxt fold.prototxt --phase test --input x=x.npy",
        &["\"conv\"", "Convolution", "BatchNorm, Scale"],
    );
    write(path, "double", "npy", &[3, 2, 4], &values::<f64>(24, 2));
    refused(path, &format!("{run} --input x=x.npy --top-diff y=double.npy"), &["f64", "f32"]);
    fs::write(path.join("other.prototxt"), RUNNABLE.replace("'y'", "'x.diff'")).unwrap();
    let line = "caffe run --prototxt other.prototxt --phase train --input x=x.npy --top-diff";
    refused(path, &format!("{line} x.diff=dy.npy"), &["x.diff.npy"]);

    let fold = "caffe fold --prototxt fold.prototxt --weights w.caffemodel";
    refused(
        path,
        &format!("{fold} --out-prototxt fold.prototxt --out-weights g"),
        &["--out-prototxt fold.prototxt", "is an input"],
    );
    refused(path, &format!("{fold} --out-prototxt g --out-weights g"), &["place of two results"]);
    refused(path, &format!("{fold} --out-prototxt no/g --out-weights h"), &["folder is not there"]);
    refused(path, &format!("{fold} --out-prototxt . --out-weights h"), &["folder"]);

    fs::write(path.join("broken.prototxt"), "layer { name: 'a' ").unwrap();
    refused(path, "caffe inspect broken.prototxt", &["broken.prototxt", "line 1"]);
    fs::write(path.join("broken.caffemodel"), b"\xa2\x06\xff\xff\xff\xff\x07").unwrap();
    refused(path, "caffe inspect broken.caffemodel", &["broken.caffemodel", "byte 7"]);
    refused(path, "caffe inspect none.caffemodel", &["none.caffemodel"]);
    refused(path, "caffe inspect .", &["a directory", "regular file"]);
    let files = "--prototxt fold.prototxt --weights w.caffemodel";
    refused(
        path,
        &format!("caffe import {files} --from x.npy --out-weights i"),
        &["--from x.npy", ".safetensors"],
    );
}

#[cfg(unix)]
#[test]
fn devices_are_refused_at_once() {
    let dir = good();
    for line in ["caffe inspect /dev/zero", "caffe inspect w.caffemodel --prototxt /dev/zero"] {
        refused(dir.path(), line, &["/dev/zero", "a pipe or device"]);
    }
}
