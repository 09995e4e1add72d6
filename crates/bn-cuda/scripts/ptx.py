#!/usr/bin/env python3
"""Compiles the kernels to the PTX text that the crate embeds, or checks the text that is there.

    ptx.py            writes ptx/*.ptx
    ptx.py --check    compares them with what the kernels compile to, and assembles them for each
                      architecture with spills as errors

Needs no CUDA toolkit and no GPU: pinned wheels of the compilers go into a folder under target/, once.
An old NVRTC makes the PTX, because a driver takes PTX of its own age and older; a new ptxas assembles
it, because only that knows the new architectures. Exit status: 0 where everything holds, 1 where
something is wrong, 77 where the wheels cannot be had.
"""

import argparse
import concurrent.futures
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

CRATE = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CRATE.parent.parent / "target"))
TOOLKIT = TARGET / "cuda-toolkit"
WHEELS = [
    "nvidia-cuda-nvrtc-cu12==12.0.140",
    "nvidia-cuda-runtime-cu12==12.0.146",
    "nvidia-cuda-nvcc==13.0.88",
]
# Each source, the least architecture (a driver compiles its PTX for every newer one), and the element types that
# have a file of their own; `finish` is small.
TYPES = ["f32", "f64", "f16", "bf16"]
SOURCES = {
    "channels_first": (80, TYPES),
    "channels_last": (80, TYPES),
    "finish": (80, [None]),
    "resident_first": (90, TYPES),
    "resident_last": (90, TYPES),
}
ARCHITECTURES = [80, 90, 100]
# No contraction of a·b + c that the source does not ask for: two kernels must round alike.
OPTIONS = ["--std=c++17", "--fmad=false", "--device-as-default-execution-space"]
NOT_TO_BE_HAD = 77


def toolkit():
    """The folder that holds the compilers; filled on the first call."""
    stamp = TOOLKIT / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(WHEELS):
        print(f"installing {', '.join(WHEELS)}", file=sys.stderr)
        packages = TOOLKIT / "packages"
        subprocess.run([sys.executable, "-m", "venv", "--clear", TOOLKIT / "venv"], check=True)
        python = TOOLKIT / "venv" / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--upgrade", "--no-deps", "--target", packages, *WHEELS], check=True)
        stamp.write_text("\n".join(WHEELS))
    return TOOLKIT / "packages" / "nvidia"


def find(folder, pattern):
    """The one file of a wheel whose name has this pattern."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no {pattern} in the installed wheels")
    return found[0]


class Nvrtc:
    """The few calls of NVRTC that turn a source into PTX."""

    def __init__(self, folder):
        self.library = ctypes.CDLL(str(find(folder, "cuda_nvrtc/lib/libnvrtc.so.12*")))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.include = find(folder, "cuda_runtime/include/cuda_bf16.h").parent

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: {self.library.nvrtcGetErrorString(status).decode()}")

    def text(self, program, kind):
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{kind}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{kind}", program, text)
        return text.value.decode()

    def compile(self, source, architecture, dtype):
        """The PTX of a source file for an architecture and its successors, of one element type or of all."""
        program = ctypes.c_void_p()
        code = source.read_bytes()
        self.call("nvrtcCreateProgram", ctypes.byref(program), code, source.name.encode(), 0, None, None)
        options = OPTIONS + [f"--gpu-architecture=compute_{architecture}", f"--include-path={source.parent}", f"--include-path={self.include}"]
        if dtype is not None:
            options += ["-DONE_TYPE", f"-DONLY_{dtype.upper()}"]
        array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        try:
            self.call("nvrtcCompileProgram", program, len(options), array)
        except RuntimeError as error:
            raise RuntimeError(f"{source.name}: {error}\n{self.text(program, 'ProgramLog')}") from None
        return self.text(program, "PTX")


def assemble(ptxas, ptx, architecture):
    """Assembles for one architecture; prints its registers, and fails where a kernel spills."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "kernels.cubin"
        command = [ptxas, f"-arch=sm_{architecture}", "-v", "-warn-spills", "-Werror", "-o", output, ptx]
        run = subprocess.run(command, capture_output=True, text=True)
    log = run.stdout + run.stderr
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", log)]
    spills = [int(number) for number in re.findall(r"(\d+) bytes spill", log)]
    if run.returncode != 0 or any(spills) or not registers:
        errors = "\n".join(re.findall(".*(?:error|fatal).*", log)) or log
        print(f"{errors}\n{ptx.name} for {architecture}: FAILED, exit status {run.returncode}")
        return False
    print(f"{ptx.name} for {architecture}: {len(registers)} kernels, at most {max(registers)} registers, no spills")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare and assemble, write nothing")
    arguments = parser.parse_args()
    try:
        folder = toolkit()
        nvrtc, ptxas = Nvrtc(folder), find(folder, "**/bin/ptxas")
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"ignored: the compilers' wheels cannot be had: {error}")
        return NOT_TO_BE_HAD
    holds = True
    files = [
        (source, least, dtype, f"{source}_{dtype}" if dtype else source)
        for source, (least, dtypes) in SOURCES.items()
        for dtype in dtypes
    ]
    for source, least, dtype, name in files:
        ptx = nvrtc.compile(CRATE / "kernels" / f"{source}.cu", least, dtype)
        path = CRATE / "ptx" / f"{name}.ptx"
        if not arguments.check:
            path.write_text(ptx, encoding="utf-8")
            print(f"{path.name}: {len(ptx)} bytes")
        elif not path.exists() or path.read_text(encoding="utf-8") != ptx:
            print(f"{path.name} is not what its kernels compile to: run cargo xtask ptx")
            holds = False
    if arguments.check:
        jobs = [(name, number) for _, least, _, name in files for number in ARCHITECTURES if number >= least]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            call = lambda job: assemble(ptxas, CRATE / "ptx" / f"{job[0]}.ptx", job[1])
            holds &= all(list(pool.map(call, jobs)))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
