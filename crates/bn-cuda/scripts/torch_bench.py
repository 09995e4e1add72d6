#!/usr/bin/env python3
"""PyTorch on the cases of a file of JSON lines, as the program `device` prints them.

    torch_bench.py bn.jsonl > torch.jsonl

Each line gets the time of PyTorch's own batch normalisation, by cuDNN and by PyTorch's native kernels,
where PyTorch has the operation. Exit status 77 where there is no PyTorch with a GPU.
"""

import json
import sys
import time

try:
    import torch
except ImportError as error:
    print(f"no PyTorch: {error}", file=sys.stderr)
    sys.exit(77)

SECONDS, ROUNDS = 0.004, 5
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64}


def fastest(call):
    """Microseconds of one call, measured as the program `device` does."""
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    calls, best, rounds = 4, float("inf"), 0
    while rounds < ROUNDS:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        if seconds < SECONDS:
            calls *= 2
            continue
        best = min(best, seconds / calls)
        rounds += 1
    return best * 1e6


def call_of(case, cudnn):
    """What PyTorch is to do for a case, or None where it has no such operation."""
    dims = [int(dim) for dim in case["shape"].split("x")]
    kind = torch.channels_last if case["layout"] == "channels-last" else torch.contiguous_format
    tensor = lambda: torch.randn(dims, device="cuda").to(TYPES[case["dtype"]]).to(memory_format=kind)
    per_channel = lambda value: torch.full((dims[1],), value, device="cuda")
    x, gamma, beta = tensor(), per_channel(1.25), per_channel(-0.5)
    mean, var = per_channel(0.1), per_channel(1.1)
    operation, _, epilogue = case["operation"].partition("+")
    residual = tensor() if epilogue == "add-relu" else None

    def follow(y):
        if residual is not None:
            y = y.add_(residual)
        return y.relu_() if epilogue else y

    if operation == "inference":
        return lambda: follow(torch.batch_norm(x, gamma, beta, mean, var, False, 0.1, 1e-5, cudnn))
    if operation == "training":
        return lambda: follow(torch.batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5, cudnn))
    if operation == "backward" and not epilogue:
        dy = tensor()
        if cudnn:
            y, saved_mean, saved_inv_std, reserve = torch.ops.aten.cudnn_batch_norm(
                x, gamma, beta, mean, var, True, 0.1, 1e-5
            )
            return lambda: torch.ops.aten.cudnn_batch_norm_backward(
                x, dy, gamma, mean, var, saved_mean, saved_inv_std, 1e-5, reserve
            )
        y, saved_mean, saved_inv_std = torch.ops.aten.native_batch_norm(
            x, gamma, beta, mean, var, True, 0.1, 1e-5
        )
        masks = [True, True, True]
        return lambda: torch.ops.aten.native_batch_norm_backward(
            dy, x, gamma, mean, var, saved_mean, saved_inv_std, True, 1e-5, masks
        )
    return None


def main():
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU", file=sys.stderr)
        sys.exit(77)
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}", file=sys.stderr)
    with torch.no_grad(), open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            for name, cudnn in [("cudnn", True), ("native", False)]:
                try:
                    call = call_of(case, cudnn)
                    case[f"{name}_microseconds"] = call and fastest(call)
                except RuntimeError as error:
                    print(f"{case['operation']} {case['shape']}: {error}", file=sys.stderr)
                    case[f"{name}_microseconds"] = None
                call = None
                torch.cuda.empty_cache()
            print(json.dumps(case), flush=True)


main()
