//! What `bn run` writes is, to the bit, what bn-naive gives.

use std::path::Path;

use bn_core::{Layout, Momentum, RunningVariance, bf16, f16};
use tempfile::tempdir;

use crate::bn_with;
use crate::files::{Bytes, names_in, npy_with, read, values, write, write_several};
use crate::naive::{Case, How};

const PLAIN: How = How {
    training: true,
    epilogue: None,
    momentum: Momentum::New(0.1),
    variance: RunningVariance::Unbiased,
    eps: 1e-5,
};

const INPUTS: &str = "--dy dy.EXT --gamma gamma.EXT --beta beta.EXT \
                      --running-mean running_mean.EXT --running-var running_var.EXT";

/// Writes every input, runs, and compares every result.
fn check<T: Bytes<Param: Bytes>>(extension: &str, layout: Layout, how: How, options: &str) {
    let dims = match layout {
        Layout::ChannelsFirst => [3, 5, 2, 4],
        Layout::ChannelsLast => [3, 2, 4, 5],
    };
    let case = Case::<T>::new(&dims, layout);
    let dir = tempdir().unwrap();
    let tensor = |name, values: &[T]| write(dir.path(), name, extension, &dims, values);
    tensor("x", &case.x);
    tensor("dy", &case.dy);
    tensor("residual", &case.residual);
    let parameter =
        |name, values: &[T::Param]| write(dir.path(), name, extension, &[case.channels], values);
    parameter("gamma", &case.gamma);
    parameter("beta", &case.beta);
    parameter("running_mean", &case.running_mean);
    parameter("running_var", &case.running_var);

    let line = format!("run --x x.EXT {INPUTS} --backend naive --layout {layout} {options}");
    bn_with(dir.path(), &line.replace("EXT", extension)).assert().success().stderr("");

    let expected = case.run(how);
    let out = dir.path().join("bn-out");
    let mut written = vec!["y", "dx", "dgamma", "dbeta"];
    same(&out, "y", extension, &dims, &expected.y);
    same(&out, "dx", extension, &dims, &expected.dx);
    let channels = [case.channels];
    same(&out, "dgamma", extension, &channels, &expected.dgamma);
    same(&out, "dbeta", extension, &channels, &expected.dbeta);
    if how.epilogue == Some("add-relu") {
        written.push("dresidual");
        same(&out, "dresidual", extension, &dims, &expected.dresidual);
    }
    if how.training {
        written.extend(["running_mean", "running_var", "save_mean", "save_inv_std"]);
        same(&out, "running_mean", extension, &channels, &expected.running_mean);
        same(&out, "running_var", extension, &channels, &expected.running_var);
        same(&out, "save_mean", extension, &channels, &expected.mean);
        same(&out, "save_inv_std", extension, &channels, &expected.inv_std);
    }
    let mut written: Vec<_> = written.iter().map(|name| format!("{name}.{extension}")).collect();
    written.sort();
    assert_eq!(names_in(&out), written);
}

fn same<T: Bytes>(dir: &Path, name: &str, extension: &str, dims: &[usize], expected: &[T]) {
    let (found_dims, found) = read::<T>(dir, name, extension);
    assert_eq!(found_dims, dims, "{name}");
    assert_eq!(T::bytes(&found), T::bytes(expected), "{name}: {found:?}, not {expected:?}");
}

#[test]
fn every_type_format_and_layout() {
    for layout in Layout::ALL {
        check::<f32>("npy", layout, PLAIN, "");
        check::<f64>("npy", layout, PLAIN, "");
        check::<f16>("npy", layout, PLAIN, "");
        check::<f32>("safetensors", layout, PLAIN, "");
        check::<f64>("safetensors", layout, PLAIN, "");
        check::<f16>("safetensors", layout, PLAIN, "");
        check::<bf16>("safetensors", layout, PLAIN, "");
    }
}

#[test]
fn every_mode_and_epilogue() {
    let layout = Layout::ChannelsFirst;
    for (training, mode) in [(true, "train"), (false, "eval")] {
        let how = How { training, ..PLAIN };
        check::<f32>("npy", layout, how, &format!("--mode {mode}"));
        let relu = How { epilogue: Some("relu"), ..how };
        check::<f32>("npy", layout, relu, &format!("--mode {mode} --epilogue relu"));
        let add = How { epilogue: Some("add-relu"), ..how };
        let options = format!("--mode {mode} --epilogue add-relu --residual residual.npy");
        check::<f32>("npy", layout, add, &options);
    }
}

#[test]
fn every_convention_of_the_running_update() {
    let run = |how, options| check::<f32>("npy", Layout::ChannelsLast, how, options);
    run(How { momentum: Momentum::New(0.25), ..PLAIN }, "--momentum 0.25");
    run(
        How { momentum: Momentum::Old(0.75), ..PLAIN },
        "--momentum 0.75 --momentum-convention old",
    );
    run(How { momentum: Momentum::Old(0.9), ..PLAIN }, "--momentum-convention old");
    run(How { momentum: Momentum::Cumulative, ..PLAIN }, "--momentum cumulative");
    run(
        How { variance: RunningVariance::Biased, ..PLAIN },
        "--running-variance biased --momentum-convention new",
    );
    run(How { eps: 0.5, ..PLAIN }, "--eps 0.5");
}

#[test]
fn without_anything_but_x() {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[4, 3], &values::<f32>(12, 9));
    bn_with(dir.path(), "run --x x.npy --out-dir deep/er").assert().success();
    assert_eq!(
        names_in(&dir.path().join("deep/er")),
        ["save_inv_std.npy", "save_mean.npy", "y.npy"]
    );
}

#[test]
fn fortran_order_and_big_endian_are_read_right() {
    // [2, 3, 2], row by row; then the same column by column.
    let dims = [2, 3, 2];
    let rows: Vec<f32> = values(12, 11);
    let mut columns = vec![0.0f32; 12];
    for (index, value) in rows.iter().enumerate() {
        let (i, j, k) = (index / 6, index / 2 % 3, index % 2);
        columns[i + 2 * (j + 3 * k)] = *value;
    }
    let big = |values: &[f32]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>();
    let files = [
        npy_with("'<f4'", "False", "(2, 3, 2)", &f32::bytes(&rows)),
        npy_with("'<f4'", "True", "(2, 3, 2)", &f32::bytes(&columns)),
        npy_with("'=f4'", "False", "(2, 3, 2)", &f32::bytes(&rows)),
        npy_with("'>f4'", "False", "(2, 3, 2)", &big(&rows)),
        npy_with("'>f4'", "True", "(2, 3, 2)", &big(&columns)),
    ];
    let results = files.map(|file| {
        let dir = tempdir().unwrap();
        std::fs::write(dir.path().join("x.npy"), file).unwrap();
        bn_with(dir.path(), "run --x x.npy").assert().success();
        let (found, y) = read::<f32>(&dir.path().join("bn-out"), "y", "npy");
        assert_eq!(found, dims);
        y
    });
    assert!(results.iter().all(|y| *y == results[0]));
    assert!(results[0].iter().any(|y| *y != 0.0));
}

#[test]
fn tensors_are_found_by_role_and_by_name() {
    let dir = tempdir().unwrap();
    let dims = [4, 2, 3];
    let x: Vec<f32> = values(24, 1);
    write(dir.path(), "alone", "safetensors", &dims, &x);
    write_several(
        dir.path(),
        "model",
        &[
            ("x", &dims, x.clone()),
            ("bn1.input", &dims, x),
            ("weight", &[2], vec![2.0, 3.0]),
            ("bn1.weight", &[2], vec![2.0, 3.0]),
            ("bias", &[2], vec![1.0, -1.0]),
        ],
    );
    let model = "model.safetensors";
    let lines = [
        format!("run --x {model} --gamma {model} --beta {model}"),
        format!("run --x {model}:bn1.input --gamma {model}:bn1.weight --beta {model}:bias"),
        format!("run --x alone.safetensors --gamma {model} --beta {model}"),
    ];
    let results = lines.map(|line| {
        bn_with(dir.path(), &line).assert().success();
        read::<f32>(&dir.path().join("bn-out"), "y", "safetensors")
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn parameters_of_another_type_are_converted() {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[4, 2], &values::<f32>(8, 1));
    write(dir.path(), "wide", "npy", &[2], &[2.0f64, 0.1]);
    write(dir.path(), "narrow", "npy", &[2], &[2.0f32, 0.1]);
    let results = ["wide", "narrow"].map(|gamma| {
        bn_with(dir.path(), &format!("run --x x.npy --gamma {gamma}.npy")).assert().success();
        read::<f32>(&dir.path().join("bn-out"), "y", "npy")
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[6, 7, 50], &values::<f32>(2100, 1));
    write(dir.path(), "dy", "npy", &[6, 7, 50], &values::<f32>(2100, 2));
    let results = [1, 2, 5].map(|threads| {
        let line = format!("run --x x.npy --dy dy.npy --threads {threads}");
        bn_with(dir.path(), &line).assert().success();
        ["y", "dx", "dgamma"]
            .map(|name| f32::bytes(&read::<f32>(&dir.path().join("bn-out"), name, "npy").1))
    });
    assert!(results.iter().all(|result| *result == results[0]));
}
