#!/usr/bin/env python3
"""Golden files for batch normalisation: what PyTorch means, without PyTorch's rounding.

PyTorch in f32 is no judge of an implementation that is more accurate than PyTorch. So the inputs of
a case are rounded to the case's own element type first, and PyTorch then runs in f64 on those rounded
values: the answer keeps its semantics (which variance, which momentum, which gradient) and has almost
no rounding error of its own. Inputs are stored in the case's type, answers in f64.

    python make_golden.py            writes data/*.safetensors
    python make_golden.py --check    makes everything again and compares it with the committed files
    python make_golden.py --list     prints the table of cases

The files are a function of this script and of the pinned versions in requirements.txt alone; README.md
describes what is in them.
"""

import argparse
import json
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save

DATA = Path(__file__).resolve().parent / "data"
DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
INPUTS = {
    "x", "dy", "gamma", "beta", "residual",
    "running_mean_before", "running_var_before", "num_batches_tracked_before",
}
TENSORS_AS_X = {"x", "dy", "residual", "y", "dx", "dresidual"}
# No output may be closer to the kink of ReLU than this, or the gradient would depend on the last bit of y.
RELU_MARGIN = 1e-4


@dataclass(frozen=True)
class Case:
    """One problem. `momentum` is the weight of the new value; None is PyTorch's cumulative average."""

    name: str
    dtype: str
    shape: tuple  # N, C, spatial..., whatever the layout
    layout: str  # "first" or "last"
    mode: str  # "train"; "eval": forward only; "frozen": running statistics, with gradients
    gamma: bool = True
    beta: bool = True
    momentum: float | None = 0.1
    eps: float = 1e-5
    epilogue: str = "none"
    data: str = "normal"

    @property
    def momentum_text(self):
        return "cumulative" if self.momentum is None else f"{self.momentum:g}"

    def metadata(self):
        return {
            "name": self.name,
            "shape": ",".join(map(str, self.shape)),
            "layout": f"channels-{self.layout}",
            "mode": self.mode,
            "eps": f"{self.eps:g}",
            "momentum": self.momentum_text,
            "epilogue": self.epilogue,
            "dtype": self.dtype,
            # Without the local part (+cpu, +cu132): on the CPU the build makes no difference.
            "torch": torch.__version__.split("+")[0],
        }


NONE = {"gamma": False, "beta": False}
CASES = [
    # Every rank.
    Case("2d-train", "f32", (5, 3), "first", "train"),
    Case("2d-last-frozen", "f32", (5, 3), "last", "frozen", eps=1e-3),
    Case("2d-f64-train-beta-only", "f64", (6, 5), "last", "train", gamma=False),
    Case("3d-train-relu", "f32", (2, 4, 7), "first", "train", epilogue="relu"),
    Case("3d-last-f64-train-gamma-only", "f64", (2, 4, 7), "last", "train", beta=False),
    Case("4d-train", "f32", (3, 5, 4, 3), "first", "train"),
    Case("4d-last-train", "f32", (3, 5, 4, 3), "last", "train"),
    Case("5d-train", "f32", (2, 3, 2, 3, 3), "first", "train"),
    Case("5d-last-train-add-relu", "f32", (2, 3, 2, 3, 3), "last", "train", epilogue="add-relu"),
    Case("5d-last-f64-frozen", "f64", (2, 3, 2, 3, 3), "last", "frozen"),
    # With and without each parameter; eps where it is large enough to be seen.
    Case("4d-train-plain", "f32", (3, 5, 4, 3), "first", "train", **NONE),
    Case("4d-last-train-gamma-only", "f32", (3, 5, 4, 3), "last", "train", beta=False, eps=1e-3),
    Case("4d-frozen-beta-only", "f32", (3, 5, 4, 3), "first", "frozen", gamma=False),
    Case("4d-eval", "f32", (3, 5, 4, 3), "first", "eval"),
    Case("4d-last-eval-plain", "f32", (3, 5, 4, 3), "last", "eval", **NONE),
    Case("3d-f64-eval-relu", "f64", (2, 4, 7), "first", "eval", epilogue="relu"),
    # One image; one channel; planes that are no multiple of any vector length.
    Case("one-image-train-momentum-1", "f32", (1, 4, 5, 5), "first", "train", momentum=1.0),
    Case("one-image-last-f64-train-momentum-0", "f64", (1, 4, 5, 5), "last", "train", momentum=0.0),
    Case("one-channel-train", "f32", (7, 1, 3, 3), "first", "train"),
    Case("one-channel-last-train-relu", "f32", (7, 1, 3, 3), "last", "train", epilogue="relu"),
    Case("wide-train-add-relu", "f32", (2, 17, 7, 7), "first", "train", epilogue="add-relu"),
    Case("wide-last-train-relu", "f32", (2, 17, 7, 7), "last", "train", epilogue="relu"),
    Case("wide-last-frozen-add-relu", "f32", (2, 17, 7, 7), "last", "frozen", epilogue="add-relu"),
    # The third step of a cumulative average.
    Case("cumulative-train", "f32", (3, 5, 4, 3), "first", "train", momentum=None),
    Case("cumulative-last-f64-train", "f64", (2, 4, 7), "last", "train", momentum=None, eps=1e-3),
    # Half types, with parameters and statistics in f32.
    Case("f16-train", "f16", (3, 5, 4, 3), "first", "train"),
    Case("f16-last-frozen-relu", "f16", (2, 17, 7, 7), "last", "frozen", epilogue="relu"),
    Case("bf16-last-train", "bf16", (3, 5, 4, 3), "last", "train"),
    Case("bf16-train-add-relu", "bf16", (2, 17, 7, 7), "first", "train", epilogue="add-relu"),
    Case("bf16-eval", "bf16", (2, 4, 7), "first", "eval", eps=1e-3),
    # Where f32 accumulation fails: a mean far from zero; a constant channel, and a gamma of zero.
    Case("mean-1e4-train", "f32", (4, 3, 9, 5), "first", "train", data="mean-1e4"),
    Case("mean-1e4-last-train", "f32", (4, 3, 9, 5), "last", "train", data="mean-1e4"),
    Case("degenerate-train", "f32", (3, 5, 4, 3), "first", "train", data="degenerate"),
]


def draw(case, rng):
    """The inputs of one step, rounded to the types they are stored in."""
    channels = case.shape[1]
    per_channel = (channels,) + (1,) * (len(case.shape) - 2)
    wide, narrow = DTYPES[case.dtype], torch.float64 if case.dtype == "f64" else torch.float32

    # Channels differ in mean and spread, so that an index gone wrong cannot pass.
    shift, scale = 2.0 * rng.standard_normal(channels), rng.uniform(0.5, 2.0, channels)
    if case.data == "mean-1e4":
        shift, scale = np.full(channels, 1e4), np.ones(channels)
    x = shift.reshape(per_channel) + scale.reshape(per_channel) * rng.standard_normal(case.shape)
    gamma, beta = 1.0 + 0.5 * rng.standard_normal(channels), rng.standard_normal(channels)
    gamma[-1] = -gamma[-1]
    running_mean = shift + 0.3 * rng.standard_normal(channels)
    running_var = scale**2 * rng.uniform(0.7, 1.5, channels)
    if case.data == "degenerate":
        x[:, 0], gamma[1] = 3.25, 0.0

    values = {
        "x": (x, wide),
        "dy": (rng.standard_normal(case.shape), wide),
        "residual": (rng.standard_normal(case.shape), wide),
        "gamma": (gamma, narrow),
        "beta": (beta, narrow),
        "running_mean_before": (running_mean, narrow),
        "running_var_before": (running_var, narrow),
    }
    drawn = {name: torch.from_numpy(value).to(dtype) for name, (value, dtype) in values.items()}
    absent = {"gamma": not case.gamma, "beta": not case.beta,
              "residual": case.epilogue != "add-relu", "dy": case.mode == "eval"}
    return {name: tensor for name, tensor in drawn.items() if not absent.get(name, False)}


def start_third_step(case, rng, inputs):
    """Replaces the running statistics by what two steps from PyTorch's initial state leave behind."""
    layer = torch.nn.BatchNorm1d(case.shape[1], case.eps, momentum=None, affine=False).double()
    for _ in range(2):
        x = draw(case, rng)["x"].double()
        layer(x.transpose(0, 1).flatten(1).t())  # the statistics do not care for the rank
    for name in ("running_mean", "running_var"):
        # Through f32 in f64 cases too: what another CPU adds up in another order rounds to the same value.
        dtype = inputs[f"{name}_before"].dtype
        inputs[f"{name}_before"] = getattr(layer, name).float().to(dtype)
    inputs["num_batches_tracked_before"] = layer.num_batches_tracked.clone()


def run(case, inputs):
    """PyTorch's answer in f64, and the smallest distance from the kink of the ReLU."""
    leaf = {name: inputs[name].double() for name in ("x", "gamma", "beta", "residual") if name in inputs}
    if case.mode != "eval":
        for tensor in leaf.values():
            tensor.requires_grad_()
    momentum = case.momentum
    if momentum is None:
        momentum = 1.0 / (inputs["num_batches_tracked_before"].item() + 1)
    running_mean = inputs["running_mean_before"].double().clone()
    running_var = inputs["running_var_before"].double().clone()
    x, gamma, beta = leaf["x"], leaf.get("gamma"), leaf.get("beta")
    training = case.mode == "train"

    if training:
        # The statistics that the backward pass would save, from a call that updates nothing.
        _, mean, inv_std = torch.native_batch_norm(x.detach(), None, None, None, None, True, 0.0, case.eps)
    else:
        mean, inv_std = running_mean.clone(), 1.0 / torch.sqrt(running_var + case.eps)

    y = F.batch_norm(x, running_mean, running_var, gamma, beta, training, momentum, case.eps)
    if case.epilogue == "add-relu":
        y = y + leaf["residual"]
    margin = float("inf")
    if case.epilogue != "none":
        margin = y.detach().abs().min().item()
        y = F.relu(y)

    answers = {
        "y": y.detach(),
        "save_mean": mean,
        "save_inv_std": inv_std,
        "running_mean_after": running_mean,
        "running_var_after": running_var,
    }
    if case.mode != "eval":
        y.backward(inputs["dy"].double())
        answers |= {f"d{name}": tensor.grad for name, tensor in leaf.items()}
    return answers, margin


def make(case):
    """All tensors of a case as they are stored."""
    for attempt in range(1000):
        rng = np.random.default_rng([zlib.crc32(case.name.encode()), attempt])
        inputs = draw(case, rng)
        if case.momentum is None:
            start_third_step(case, rng, inputs)
        answers, margin = run(case, inputs)
        if margin >= RELU_MARGIN:
            break
    else:
        sys.exit(f"{case.name}: every attempt has an output next to the kink of the ReLU")
    tensors = inputs | answers
    if case.layout == "last":
        for name in TENSORS_AS_X & tensors.keys():
            tensors[name] = tensors[name].movedim(1, -1)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def encode(tensors, metadata):
    """A safetensors file whose bytes are reproducible: the library writes metadata in a random order."""
    blob = save(tensors, metadata)
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[start:]


def compare(case, tensors, path):
    """What differs between a case made now and its committed file, as lines of text."""
    with safe_open(path, "pt") as file:
        metadata, committed = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    if metadata != case.metadata():
        yield f"metadata {metadata}, not {case.metadata()}"
    if committed.keys() != tensors.keys():
        yield f"tensors {sorted(committed)}, not {sorted(tensors)}"
        return
    # f64 itself loses in proportion to the size of x: subtracting a mean of 1e4 costs four digits.
    tolerance = 1e-12 * max(1.0, tensors["x"].double().abs().max().item())
    for name, made in tensors.items():
        kept = committed[name]
        if (kept.dtype, kept.shape) != (made.dtype, made.shape):
            yield f"{name}: {kept.dtype} {tuple(kept.shape)}, not {made.dtype} {tuple(made.shape)}"
        elif name in INPUTS:
            if not torch.equal(kept, made):
                yield f"{name}: an input differs"
        elif not (difference := (kept - made).abs().max().item()) <= tolerance:
            yield f"{name}: differs by {difference:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--list", action="store_true", help="print the table of cases, write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)

    if args.list:
        for case in CASES:
            parameters = "+".join(name for name in ("gamma", "beta") if getattr(case, name)) or "-"
            print("|", " | ".join([
                case.name, case.dtype, str(case.shape), f"channels-{case.layout}", case.mode, case.epilogue,
                parameters, case.momentum_text, f"{case.eps:g}", case.data,
            ]), "|")
        return

    failures = []
    expected = {f"{case.name}.safetensors" for case in CASES}
    assert len(expected) == len(CASES), "two cases of one name"
    present = {path.name for path in DATA.glob("*.safetensors")}
    if args.check:
        failures += [f"{name}: no file" for name in sorted(expected - present)]
        failures += [f"{name}: no such case" for name in sorted(present - expected)]
    else:
        DATA.mkdir(exist_ok=True)
        for name in present - expected:
            (DATA / name).unlink()
    for case in CASES:
        path, tensors = DATA / f"{case.name}.safetensors", make(case)
        if not args.check:
            path.write_bytes(encode(tensors, case.metadata()))
        elif path.exists():
            failures += [f"{case.name}: {line}" for line in compare(case, tensors, path)]
    print(*failures, sep="\n", end="\n" if failures else "")
    if failures:
        sys.exit(f"{len(failures)} differences")
    total = sum(path.stat().st_size for path in DATA.glob("*.safetensors"))
    print(f"{len(CASES)} cases, {total} bytes: {'as committed' if args.check else 'written'}")


if __name__ == "__main__":
    main()
