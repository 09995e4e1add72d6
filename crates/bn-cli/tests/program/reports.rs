//! What is printed: tables for people, JSON for programs, help for both.

use std::io::Read;
use std::process::{Command, Stdio};

use predicates::boolean::PredicateBooleanExt as _;
use predicates::prelude::predicate;
use predicates::str::contains;
use serde_json::Value;
use tempfile::tempdir;

use crate::bn_with;
use crate::files::{values, write};

fn json(dir: &std::path::Path, line: &str) -> Value {
    let output = bn_with(dir, line).assert().success().stderr("").get_output().clone();
    serde_json::from_slice(&output.stdout).expect("the output is one JSON document")
}

/// Lines that fit 100 columns and have nothing to steer a terminal.
fn reads_well(text: &str) -> bool {
    text.lines().all(|line| line.chars().count() <= 100) && !text.contains('\u{1b}')
}

#[test]
fn backends_are_listed() {
    let dir = tempdir().unwrap();
    bn_with(dir.path(), "backends")
        .assert()
        .success()
        .stdout(contains("naive").and(contains("rayon")).and(contains("bf16")))
        .stdout(predicate::function(reads_well));
    let document = json(dir.path(), "backends --json");
    let naive = document["backends"].as_array().unwrap().iter().find(|b| b["name"] == "naive");
    let naive = naive.expect("naive is always there");
    assert_eq!(naive["status"], "available");
    assert_eq!(naive["element_types"], serde_json::json!(["f32", "f64", "f16", "bf16"]));
    assert_eq!(naive["layouts"], serde_json::json!(["channels-first", "channels-last"]));
}

#[test]
fn compare_needs_no_argument() {
    let dir = tempdir().unwrap();
    bn_with(dir.path(), "compare")
        .assert()
        .success()
        .stderr("")
        .stdout(contains("64×24×8×8").and(contains("dx")).and(contains("running_var")))
        .stdout(predicate::function(reads_well));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn every_backend_is_near_the_reference() {
    let dir = tempdir().unwrap();
    for options in [
        "",
        "--layout channels-last",
        "--mode eval",
        "--epilogue relu",
        "--threads 1 --momentum cumulative",
    ] {
        let document = json(dir.path(), &format!("compare --json {options}"));
        let backends = document["backends"].as_array().unwrap();
        assert!(backends.iter().any(|backend| backend["name"] == "naive"));
        for backend in backends {
            assert!(backend["forward"]["seconds"].as_f64().unwrap() > 0.0);
            assert!(backend["backward"]["gb_per_s"].as_f64().unwrap() > 0.0);
            let differences = backend["differences"].as_array().unwrap();
            let expected = if options == "--mode eval" { 4 } else { 8 };
            assert_eq!(differences.len(), expected, "{options}");
            for difference in differences {
                let relative = difference["relative"].as_f64().unwrap();
                assert!(relative < 1e-6, "{options}: {backend:#}");
                assert_eq!(difference["not_comparable"], 0);
            }
        }
    }
}

#[test]
fn compare_takes_the_inputs_of_run() {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "safetensors", &[5, 3, 4], &values::<bn_core::bf16>(60, 1));
    write(dir.path(), "gamma", "npy", &[3], &values::<f32>(3, 2));
    let line = "compare --x x.safetensors --gamma gamma.npy --epilogue relu --json";
    let document = json(dir.path(), line);
    assert_eq!(document["x"]["dtype"], "bf16");
    assert_eq!(document["layer"]["epilogue"], "relu");
    let naive = document["backends"].as_array().unwrap().iter().find(|b| b["name"] == "naive");
    let naive = naive.unwrap();
    assert_eq!(naive["backward"], Value::Null);
    let y = &naive["differences"][0];
    assert_eq!((&y["name"], &y["dtype"]), (&"y".into(), &"bf16".into()));
    // Rounding to bf16, by way of f32.
    let ulp = y["ulp"].as_f64().unwrap();
    assert!(ulp > 0.0 && ulp < 0.51, "{ulp}");
}

#[test]
fn run_reports_every_result() {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[2, 1, 2], &[1.0f32, 2.0, 3.0, 4.0]);
    write(dir.path(), "dy", "npy", &[2, 1, 2], &[1.0f32, 0.0, 0.0, 0.0]);
    let document = json(dir.path(), "run --x x.npy --dy dy.npy --json --backend naive");
    assert_eq!(document["backend"]["name"], "naive");
    assert_eq!(document["x"]["shape"], serde_json::json!([2, 1, 2]));
    assert_eq!(document["layer"]["mode"], "train");
    assert_eq!(document["forward"]["bytes"], 2 * 4 * 4);
    assert_eq!(document["backward"]["bytes"], 3 * 4 * 4);
    let outputs = document["outputs"].as_array().unwrap();
    let names: Vec<_> = outputs.iter().map(|output| output["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["y", "dx", "dgamma", "dbeta", "save_mean", "save_inv_std"]);
    for output in outputs {
        let file = dir.path().join(output["file"].as_str().unwrap());
        assert!(file.is_file(), "{file:?}");
    }
    let mean = &outputs[4];
    assert_eq!((&mean["dtype"], &mean["shape"]), (&"f64".into(), &serde_json::json!([1])));
    assert_eq!(
        (&mean["min"], &mean["mean"], &mean["max"]),
        (&2.5.into(), &2.5.into(), &2.5.into())
    );

    bn_with(dir.path(), "run --x x.npy --dy dy.npy")
        .assert()
        .success()
        .stdout(contains("save_inv_std").and(contains("GB/s")).and(contains("2.5000")))
        .stdout(contains("NaN").not())
        .stdout(predicate::function(reads_well));
}

#[test]
fn nan_is_worked_with_and_noted() {
    let dir = tempdir().unwrap();
    let x = [1.0f32, f32::NAN, 3.0, 4.0, 5.0, 6.0];
    write(dir.path(), "x", "npy", &[3, 2], &x);
    bn_with(dir.path(), "run --x x.npy")
        .assert()
        .success()
        .stdout(contains("x holds 1 NaN").and(contains("NaN")));
    let document = json(dir.path(), "run --x x.npy --json");
    assert_eq!(document["nan_in_inputs"]["x"], 1);
    // Its own channel is spoiled, the other is not.
    assert_eq!(document["outputs"][0]["nan"], 3);
    let document = json(dir.path(), "compare --x x.npy --json");
    for backend in document["backends"].as_array().unwrap() {
        assert_eq!(backend["differences"][0]["not_comparable"], 0);
    }
}

#[test]
fn help_is_worth_reading() {
    let dir = tempdir().unwrap();
    bn_with(dir.path(), "--help")
        .assert()
        .success()
        .stdout(contains("backends").and(contains("run")).and(contains("compare")));
    let run = bn_with(dir.path(), "run --help").assert().success().stdout(contains("Examples:"));
    let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    for option in "x dy gamma beta running-mean running-var residual mode momentum \
                   momentum-convention running-variance eps layout epilogue threads backend \
                   out-dir json"
        .split_whitespace()
    {
        assert!(text.contains(&format!("--{option}")), "help lacks --{option}");
    }
    bn_with(dir.path(), "compare --help").assert().success().stdout(contains("Examples:"));
    bn_with(dir.path(), "--version").assert().success().stdout(contains("bn "));
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let program = assert_cmd::cargo::cargo_bin!("bn");
    for argument in ["backends", "compare"] {
        let mut child = Command::new(program)
            .arg(argument)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before the first byte is written.
        drop(child.stdout.take());
        let status = child.wait().unwrap();
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!((status.code(), message.as_str()), (Some(0), ""), "{argument}");
    }
}
