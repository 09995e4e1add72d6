//! Bad input: exit status 2, one clear line on stderr, nothing on stdout, nothing written.

use std::fs;
use std::path::Path;

use predicates::prelude::predicate;
use tempfile::{TempDir, tempdir};

use crate::bn_with;
use crate::files::{Bytes, names_in, npy_with, values, write, write_several};

/// A directory with good inputs: x and dy of (4, 3, 2), parameters of 3.
fn good() -> TempDir {
    let dir = tempdir().unwrap();
    let path = dir.path();
    write(path, "x", "npy", &[4, 3, 2], &values::<f32>(24, 1));
    write(path, "dy", "npy", &[4, 3, 2], &values::<f32>(24, 2));
    write(path, "three", "npy", &[3], &values::<f32>(3, 3));
    write(path, "four", "npy", &[4], &values::<f32>(4, 4));
    dir
}

/// Runs a line that must be refused, in words that hold each of `says`.
fn refused(dir: &Path, line: &str, says: &[&str]) {
    let before = names_in(dir);
    let output = bn_with(dir, line).assert().code(2).stdout("").get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: ") && message.ends_with('\n'), "{message:?}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in says {
        assert!(message.contains(part), "{line}: {message:?} lacks {part:?}");
    }
    assert_eq!(names_in(dir), before, "{line} left something behind");
}

#[test]
fn good_inputs_are_accepted() {
    // The other tests here show nothing if the directory they begin with is not good.
    let dir = good();
    bn_with(dir.path(), "run --x x.npy --dy dy.npy --gamma three.npy").assert().success();
}

#[test]
fn shapes_that_do_not_fit() {
    let dir = good();
    let path = dir.path();
    refused(path, "run --x three.npy", &["--x three.npy", "[3]", "rank 1", "rank 2 or more"]);
    refused(path, "run --x x.npy --gamma four.npy", &["--gamma four.npy", "[4]", "expected [3]"]);
    refused(path, "run --x x.npy --beta x.npy", &["--beta x.npy", "[4, 3, 2]", "expected [3]"]);
    refused(
        path,
        "run --x x.npy --running-mean three.npy --running-var four.npy",
        &["--running-var four.npy", "[4]", "expected [3]"],
    );
    refused(
        path,
        "run --x x.npy --gamma three.npy --layout channels-last",
        &["--gamma three.npy", "expected [2]"],
    );
    write(path, "short", "npy", &[4, 3, 1], &values::<f32>(12, 1));
    refused(path, "run --x x.npy --dy short.npy", &["[4, 3, 1]", "expected [4, 3, 2]", "x.npy"]);
    refused(
        path,
        "run --x x.npy --epilogue add-relu --residual short.npy",
        &["--residual short.npy", "expected [4, 3, 2]"],
    );
}

#[test]
fn empty_arrays() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    for (name, dims) in [("batch", [0, 3, 2]), ("channels", [4, 0, 2]), ("spatial", [4, 3, 0])] {
        write::<f32>(path, name, "npy", &dims, &[]);
        write::<f32>(path, name, "safetensors", &dims, &[]);
        let shape = format!("{dims:?}");
        refused(path, &format!("run --x {name}.npy"), &[name, &shape, "at least 1"]);
        refused(path, &format!("run --x {name}.safetensors"), &[name, &shape, "at least 1"]);
    }
}

#[test]
fn element_types_that_do_not_fit() {
    let dir = good();
    let path = dir.path();
    write(path, "double", "npy", &[4, 3, 2], &values::<f64>(24, 2));
    refused(path, "run --x x.npy --dy double.npy", &["f64", "expected f32", "x.npy"]);
    write(path, "huge", "npy", &[3], &[1.0f64, 1e300, 1.0]);
    refused(path, "run --x x.npy --gamma huge.npy", &["--gamma huge.npy", "1e300 at 1", "f32"]);
    for (descr, size, reason) in [
        ("'|O'", 8, "Python objects"),
        ("'<i8'", 8, "integers"),
        ("'|b1'", 1, "booleans"),
        ("'<c8'", 8, "complex"),
        ("[('a', '<f4'), ('b', '<f4')]", 8, "structured"),
    ] {
        let file = npy_with(descr, "False", "(4, 3)", &vec![0; 12 * size]);
        fs::write(path.join("odd.npy"), file).unwrap();
        refused(path, "run --x odd.npy", &["--x odd.npy", reason, "expected f4, f8 or f2"]);
    }
}

#[test]
fn files_that_are_not_there_or_not_files() {
    let dir = good();
    let path = dir.path();
    refused(path, "run --x none.npy", &["--x none.npy", "cannot be read"]);
    refused(path, "run --x x.npy --dy none/dy.npy", &["--dy none/dy.npy", "cannot be read"]);
    fs::create_dir(path.join("folder.npy")).unwrap();
    refused(path, "run --x folder.npy", &["a directory", "expected a regular file"]);
    fs::write(path.join("empty.npy"), "").unwrap();
    refused(path, "run --x empty.npy", &["empty.npy", "truncated", "0 are there"]);
    fs::write(path.join("text.npy"), "1.0, 2.0, 3.0").unwrap();
    refused(path, "run --x text.npy", &["not an .npy file", "1.0, 2", "NUMPY"]);
    fs::write(path.join("text.txt"), "1.0, 2.0, 3.0").unwrap();
    refused(path, "run --x text.txt", &["neither .npy nor .safetensors"]);
    fs::write(path.join("text.safetensors"), "1.0").unwrap();
    refused(path, "run --x text.safetensors", &["truncated"]);
}

#[cfg(unix)]
#[test]
fn a_device_is_refused_at_once() {
    let dir = good();
    refused(dir.path(), "run --x /dev/zero", &["a pipe or device", "expected a regular file"]);
}

#[test]
fn truncated_and_surplus_files() {
    let dir = good();
    let path = dir.path();
    for extension in ["npy", "safetensors"] {
        write(path, "whole", extension, &[4, 3, 2], &values::<f32>(24, 1));
        let mut bytes = fs::read(path.join("whole").with_extension(extension)).unwrap();
        let cut = path.join("cut").with_extension(extension);
        for len in [1, 7, 9, 40, bytes.len() - 96, bytes.len() - 1] {
            fs::write(&cut, &bytes[..len]).unwrap();
            refused(path, &format!("run --x cut.{extension}"), &["truncated", "are there"]);
        }
        bytes.push(0);
        fs::write(&cut, &bytes).unwrap();
        refused(path, &format!("run --x cut.{extension}"), &["97 bytes of data", "take 96"]);
    }
}

#[test]
fn headers_made_to_break() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    let npy =
        |shape: &str| fs::write(path.join("x.npy"), npy_with("'<f4'", "False", shape, &[0; 16]));
    npy("(1099511627776, 1099511627776)").unwrap();
    refused(path, "run --x x.npy", &["1099511627776", "overflows"]);
    npy("(1048576, 1048576)").unwrap();
    refused(path, "run --x x.npy", &["truncated", "4398046511104 bytes, 16 are there"]);
    npy("(-1, 4)").unwrap();
    refused(path, "run --x x.npy", &["malformed header", "a tuple of sizes"]);
    fs::write(path.join("x.npy"), b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").unwrap();
    refused(path, "run --x x.npy", &["header of 4294967295 bytes", "at most 10000"]);
    fs::write(path.join("x.safetensors"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    refused(path, "run --x x.safetensors", &["header of 18446744073709551615 bytes"]);
}

#[test]
fn names_in_safetensors() {
    let dir = good();
    let path = dir.path();
    write_several(path, "two", &[("a", &[4, 3], values(12, 1)), ("b", &[3], values(3, 1))]);
    refused(path, "run --x two.safetensors", &["2 tensors", "none named x", "\"a\", \"b\""]);
    refused(path, "run --x two.safetensors:c", &["no tensor \"c\"", "\"a\", \"b\""]);
    write_several(path, "both", &[("beta", &[3], values(3, 1)), ("bias", &[3], values(3, 1))]);
    refused(path, "run --x x.npy --beta both.safetensors", &["\"beta\", \"bias\"", "FILE:NAME"]);
}

#[test]
fn settings_that_do_not_hold() {
    let dir = good();
    let path = dir.path();
    let x = "run --x x.npy";
    for eps in ["0", "-1e-5", "nan", "inf"] {
        refused(path, &format!("{x} --eps {eps}"), &["eps", "above 0"]);
    }
    let running = format!("{x} --running-mean three.npy --running-var three.npy");
    for momentum in ["1.5", "-0.1", "nan"] {
        refused(path, &format!("{running} --momentum {momentum}"), &["momentum", "from 0 to 1"]);
    }
    // A mistake is one where nothing comes of it, too.
    refused(path, &format!("{x} --momentum 7"), &["momentum", "from 0 to 1"]);
    write(path, "negative", "npy", &[3], &[1.0f32, -0.5, 1.0]);
    let line = format!("{x} --mode eval --running-mean three.npy --running-var negative.npy");
    refused(path, &line, &["--running-var", "channel 1 is -0.5", "no negative variance"]);
    refused(path, &format!("{running} --momentum most"), &["most", "cumulative"]);
    refused(path, &format!("{x} --mode eval"), &["--running-mean", "--running-var"]);
    refused(path, &format!("{x} --running-mean three.npy"), &["--running-var"]);
    refused(path, &format!("{x} --epilogue add-relu"), &["expected --residual"]);
    refused(path, &format!("{x} --residual x.npy"), &["--epilogue add-relu"]);
    refused(path, &format!("{x} --threads 0"), &["threads"]);
    refused(path, &format!("{x} --threads 100000"), &["100000 threads", "1 to 1024"]);
    refused(path, &format!("{x} --backend abacus"), &["abacus", "auto", "naive"]);
    refused(path, &format!("{x} --layout sideways"), &["sideways", "channels-first"]);
    refused(path, "run", &["--x"]);
    refused(path, "run --x x.npy extra", &["extra"]);
    refused(path, "normalise", &["normalise"]);
    refused(path, "compare --dy dy.npy", &["--dy dy.npy", "expected --x"]);
    write(path, "one", "npy", &[1, 3], &values::<f32>(3, 1));
    refused(path, "run --x one.npy", &["one value per channel", "at least 2"]);
}

#[test]
fn what_would_steer_a_terminal_is_escaped() {
    let dir = tempdir().unwrap();
    let name = "a\u{1b}[31m\nb.npy";
    let mut command = crate::bn(dir.path());
    command.args(["run", "--x", name]).assert().code(2).stderr(predicate::function(
        |text: &str| text.lines().count() == 1 && !text.contains('\u{1b}') && text.contains("\\n"),
    ));
}

#[test]
fn many_broken_files_never_panic() {
    // The parsers are put through thousands of these in the program's own tests; here the whole
    // program, where status 101 or a signal would be a panic or an abort.
    let dir = tempdir().unwrap();
    let data = f32::bytes(&values(24, 1));
    let original = npy_with("'<f4'", "False", "(4, 3, 2)", &data);
    let mut state = 7u64;
    let mut next = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..200 {
        let mut bytes = original.clone();
        let at = next(128);
        bytes[at] ^= 1 << next(8);
        fs::write(dir.path().join("x.npy"), &bytes).unwrap();
        let output = bn_with(dir.path(), "run --x x.npy").output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 2)), "{at}: {code:?} {:?}", output.stderr);
    }
}
