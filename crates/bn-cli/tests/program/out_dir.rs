//! The results' files: all of them or none, and nothing else touched.

use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;

use predicates::str::contains;
use tempfile::{TempDir, tempdir};

use crate::bn_with;
use crate::files::{names_in, values, write};

fn with_inputs() -> TempDir {
    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[4, 300], &values::<f32>(1200, 1));
    write(dir.path(), "dy", "npy", &[4, 300], &values::<f32>(1200, 2));
    dir
}

const RESULTS: [&str; 6] =
    ["dbeta.npy", "dgamma.npy", "dx.npy", "save_inv_std.npy", "save_mean.npy", "y.npy"];

#[test]
fn existing_results_are_replaced_and_the_rest_is_left_alone() {
    let dir = with_inputs();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("y.npy"), "old").unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    for _ in 0..2 {
        bn_with(dir.path(), "run --x x.npy --dy dy.npy --out-dir out").assert().success();
        let mut expected: Vec<_> = RESULTS.to_vec();
        expected.insert(3, "notes.txt");
        assert_eq!(names_in(&out), expected);
        assert_eq!(fs::read(out.join("notes.txt")).unwrap(), b"mine");
        assert!(fs::read(out.join("y.npy")).unwrap().starts_with(b"\x93NUMPY"));
    }
}

#[test]
fn an_input_is_never_written_over() {
    let dir = with_inputs();
    fs::rename(dir.path().join("x.npy"), dir.path().join("y.npy")).unwrap();
    let before = fs::read(dir.path().join("y.npy")).unwrap();
    for out in [".", "./.", dir.path().to_str().unwrap()] {
        bn_with(dir.path(), &format!("run --x y.npy --out-dir {out}"))
            .assert()
            .code(2)
            .stderr(contains("is an input"));
    }
    assert_eq!(fs::read(dir.path().join("y.npy")).unwrap(), before);
    assert_eq!(names_in(dir.path()), ["dy.npy", "y.npy"]);
}

#[test]
fn a_place_that_is_taken_is_found_before_anything_is_written() {
    let dir = with_inputs();
    fs::write(dir.path().join("file"), "").unwrap();
    bn_with(dir.path(), "run --x x.npy --out-dir file")
        .assert()
        .code(2)
        .stderr(contains("not a directory"));
    fs::create_dir_all(dir.path().join("out/save_mean.npy")).unwrap();
    bn_with(dir.path(), "run --x x.npy --out-dir out")
        .assert()
        .code(2)
        .stderr(contains("save_mean.npy: is not a file"));
    assert_eq!(names_in(&dir.path().join("out")), ["save_mean.npy"]);
}

#[test]
fn a_directory_that_cannot_be_made() {
    let dir = with_inputs();
    fs::write(dir.path().join("file"), "").unwrap();
    bn_with(dir.path(), "run --x x.npy --out-dir file/out").assert().code(2).stdout("");
    assert_eq!(names_in(dir.path()), ["dy.npy", "file", "x.npy"]);
}

/// Runs under a limit on the size of a file, which stops writing as a full disk does.
#[cfg(target_os = "linux")]
fn with_blocks(dir: &Path, blocks: usize, line: &str) -> std::process::Output {
    let program = assert_cmd::cargo::cargo_bin!("bn").display();
    // The signal is ignored, so that the write fails instead.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{program}' {line}");
    std::process::Command::new("sh").args(["-c", &script]).current_dir(dir).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = tempdir().unwrap();
    // y takes 1,200 bytes of data, save_mean 2,400 behind it: the first fits the limit of 4 blocks
    // of 512 bytes, the second does not.
    write(dir.path(), "x", "npy", &[2, 300], &values::<bn_core::f16>(600, 1));
    let output = with_blocks(dir.path(), 4, "run --x x.npy --out-dir a/b");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("save_mean.npy: cannot be written"), "{message}");
    assert_eq!(names_in(dir.path()), ["x.npy"]);

    // Results of an earlier run stay as they are.
    bn_with(dir.path(), "run --x x.npy --out-dir out").assert().success();
    let out = dir.path().join("out");
    let contents = || names_in(&out).iter().map(|name| fs::read(out.join(name)).unwrap()).collect();
    let before: Vec<Vec<u8>> = contents();
    write(dir.path(), "x", "npy", &[2, 300], &values::<bn_core::f16>(600, 99));
    let output = with_blocks(dir.path(), 4, "run --x x.npy --out-dir out");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(names_in(&out), ["save_inv_std.npy", "save_mean.npy", "y.npy"]);
    assert!(before == contents());
    assert!(with_blocks(dir.path(), 8, "run --x x.npy --out-dir out").status.success());
}

/// Whatever the moment, a signal leaves all results or none, and nothing unfinished.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_leaves_nothing_half_written() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let dir = tempdir().unwrap();
    write(dir.path(), "x", "npy", &[64, 64, 1024], &values::<f32>(64 * 64 * 1024, 1));
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    for delay in [0, 1, 2, 4, 8] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("bn"))
            .args(["run", "--x", "x.npy", "--out-dir", "out"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first sign of a file on, at different depths into the writing.
        while names_in(&out).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(delay));
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        let status = child.wait().unwrap();
        let left = names_in(&out);
        let complete = ["save_inv_std.npy", "save_mean.npy", "y.npy"];
        assert!(left.is_empty() || left == complete, "{status}: {left:?}");
        left.iter().for_each(|name| fs::remove_file(out.join(name)).unwrap());
    }
}
