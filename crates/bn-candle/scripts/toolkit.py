#!/usr/bin/env python3
"""Makes a CUDA toolkit that candle's feature `cuda` builds with, and prints its environment for a shell.

    eval "$(toolkit.py)" && cargo test --release -p bn-candle --features cuda --test cuda --no-run

Needs no installed toolkit and no GPU: the compiler comes as pinned wheels into a folder under target/, once. Libraries
that a program only finds on the machine it runs on are stood in for while linking, as the toolkit's own lib/stubs do:
each has the name and the functions that cudarc knows, which answer that they stand in. Exit status 77 where the wheels
cannot be had.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOOLKIT = TARGET / "candle-toolkit"
# All of one minor version: a newer nvvm makes PTX that an older ptxas refuses.
PACKAGES = ["nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-runtime", "nvidia-cuda-cccl"]
WHEELS = [f"{package}==13.0.*" for package in PACKAGES]
# cudarc's module of each library that candle links, and the name that a loader looks for.
LIBRARIES = {
    "cuda": ("driver", "libcuda.so.1"),
    "nvrtc": ("nvrtc", "libnvrtc.so.13"),
    "curand": ("curand", "libcurand.so.10"),
    "cublas": ("cublas", "libcublas.so.13"),
    "cublasLt": ("cublaslt", "libcublasLt.so.13"),
}
# That of an H200. candle's kernels are compiled for one; ours are PTX for all from 8.0 on.
COMPUTE_CAPABILITY = "90"
# What the toolkit's own stand-ins answer, where one is loaded after all: CUDA_ERROR_STUB_LIBRARY.
STUB_LIBRARY = 34
NOT_TO_BE_HAD = 77


def install():
    """The folder of the compiler, filled on the first call."""
    stamp = TOOLKIT / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(WHEELS):
        print(f"installing {', '.join(WHEELS)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", TOOLKIT / "venv"], check=True)
        pip = [TOOLKIT / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        packages = TOOLKIT / "packages"
        subprocess.run([*pip, "--upgrade", "--no-deps", "--target", packages, *WHEELS], check=True)
        stamp.write_text("\n".join(WHEELS))
    return TOOLKIT / "packages" / "nvidia" / "cu13"


def cudarc():
    """The sources of the cudarc that candle is built with."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--features", "bn-candle/cuda"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    manifest = next(package["manifest_path"] for package in metadata["packages"] if package["name"] == "cudarc")
    return pathlib.Path(manifest).parent / "src"


def stand_in(library, module, name, sources, folder):
    """A library with the functions that cudarc declares of it."""
    text = "".join(path.read_text() for path in sorted((sources / module / "sys").glob("*.rs")))
    functions = sorted(set(re.findall(r"pub (?:unsafe )?fn ((?:cu|nvrtc)\w+)\s*\(", text)))
    code = "".join(f"int {function}(void) {{ return {STUB_LIBRARY}; }}\n" for function in functions)
    options = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{name}", "-x", "c", "-"]
    subprocess.run(["cc", *options, "-o", folder / f"lib{library}.so"], input=code.encode(), check=True)


def main():
    try:
        home = install()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"ignored: the compiler's wheels cannot be had: {error}", file=sys.stderr)
        return NOT_TO_BE_HAD
    stubs = home / "lib" / "stubs"
    stubs.mkdir(exist_ok=True)
    sources = cudarc()
    for library, (module, name) in LIBRARIES.items():
        stand_in(library, module, name, sources, stubs)
    runtime = home / "lib" / "libcudart.so"
    runtime.unlink(missing_ok=True)
    runtime.symlink_to("libcudart.so.13")
    environment = {
        "CUDA_HOME": home,
        "NVCC": home / "bin" / "nvcc",
        "CUDA_COMPUTE_CAP": os.environ.get("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY),
    }
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(str(value))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
