//! bn-candle with its feature `cuda`, checked on a machine that has no nvcc.

use crate::cargo::Cargo;
use crate::workspace::Workspace;

/// The package whose feature `cuda` turns on candle's, which wants nvcc.
pub(super) const PACKAGE: &str = "bn-candle";
/// What stands in for nvcc, and writes empty files in the place of kernels.
const STAND_IN: &str = "crates/bn-candle/scripts/nvcc-for-checks";
/// Where it is all built, below the target folder: nothing that is linked may find an empty kernel.
const TARGET: &str = "checks-without-nvcc";
/// Nothing of it runs but build scripts and macros, which take a third of the time to build like this.
const UNOPTIMISED: &str = "profile.dev.package.\"*\".opt-level=0";

/// Clippy over every target of the package, with the feature.
pub(super) fn clippy(workspace: &Workspace) -> Cargo {
    let target = workspace.target().join(TARGET);
    let package = ["--package", PACKAGE, "--all-targets", "--all-features"];
    let place = ["--target-dir", target.as_str(), "--config", UNOPTIMISED];
    Cargo::new("clippy", package.into_iter().chain(place).chain(["--", "-D", "warnings"]))
        .env("NVCC", workspace.root().join(STAND_IN))
        .env("CUDA_COMPUTE_CAP", "80")
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_stand_in_leaves_every_file_that_nvcc_would() {
        let workspace = Workspace::load().unwrap();
        let folder = workspace.target().join("stand-in-for-nvcc");
        fs::create_dir_all(&folder).unwrap();
        let nvcc = |arguments: &[&str]| {
            let mut command = Command::new(workspace.root().join(STAND_IN));
            assert!(command.args(arguments).status().unwrap().success());
        };
        nvcc(&["-gencode=x", "--ptx", "--output-directory", folder.as_str(), "-O3", "src/a.cu"]);
        nvcc(&["-c", "-o", folder.join("b.o").as_str(), "src/b.cu"]);
        for file in ["a.ptx", "b.o"] {
            assert_eq!(fs::read(folder.join(file)).unwrap(), b"", "{file}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_built_with_the_stand_in_stays_apart() {
        let call = clippy(&Workspace::load().unwrap()).to_string();
        assert!(call.contains("NVCC=") && call.contains(TARGET), "{call}");
    }
}
