"""Python libraries behind the line protocol of benches/peers/PROTOCOL.md.

`python runner.py NAME` reads commands from standard input and answers on standard output, one JSON
object a line, until `quit` or the end of input.
"""

import importlib
import sys

import protocol

# The name on the command line, the module, the arguments of its class `Peer`.
PEERS = {
    "pytorch": ("peer_pytorch", {"preallocated": False}),
    "pytorch-out": ("peer_pytorch", {"preallocated": True}),
    "jax": ("peer_jax", {"fast_variance": False}),
    "jax-fast-variance": ("peer_jax", {"fast_variance": True}),
    "onnxruntime": ("peer_onnxruntime", {}),
    "onednn": ("peer_onednn", {"blocked": False}),
    "onednn-blocked": ("peer_onednn", {"blocked": True}),
}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in PEERS:
        sys.exit(f"error: one argument, of: {', '.join(PEERS)}")
    module, arguments = PEERS[sys.argv[1]]
    answers = protocol.claim_standard_output()
    protocol.serve(importlib.import_module(module).Peer(**arguments), answers)


if __name__ == "__main__":
    main()
