"""The commands, the answers, and the loop that turns one into the other."""

import dataclasses
import json
import os
import pathlib
import sys
import time

import numpy


class Refused(Exception):
    """A reason why a peer cannot do what is asked; no fault of anyone."""


@dataclasses.dataclass
class Configuration:
    """What is to be measured. `shape` is as the arrays have it: channels at index 1, or last."""

    operation: str
    layout: str
    dtype: str
    shape: list
    threads: int
    inputs: pathlib.Path
    outputs: pathlib.Path
    eps: float
    momentum: float

    @property
    def channels_last(self):
        return self.layout == "channels-last"

    @property
    def channels(self):
        return self.shape[-1 if self.channels_last else 1]

    def read(self, name):
        return numpy.load(self.inputs / f"{name}.npy")

    def write(self, name, array):
        numpy.save(self.outputs / f"{name}.npy", numpy.ascontiguousarray(array))


class Timed:
    """What a peer prepares: an operation to call, and its outputs by name after a call."""

    def __init__(self, call, outputs):
        self.call = call
        self.outputs = outputs

    def milliseconds(self, iterations):
        """The mean of so many calls, after one beside the clock."""
        self.call()
        start = time.perf_counter()
        for _ in range(iterations):
            self.call()
        return (time.perf_counter() - start) * 1e3 / iterations


def aligned(array, line=64):
    """A copy that begins where a cache line begins, as our own buffers do."""
    storage = numpy.zeros(array.nbytes + line, numpy.uint8)
    start = -storage.ctypes.data % line
    copy = storage[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def claim_standard_output():
    """A stream for the answers; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def serve(peer, answers):
    """Answers commands until `quit` or the end of input."""
    configuration = prepared = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            command = request.pop("command")
            if command == "quit":
                return
            if command == "hello":
                answer = {"name": peer.name, "version": peer.version, "notes": peer.notes}
            elif command == "prepare":
                prepared = None
                for folder in ("inputs", "outputs"):
                    request[folder] = pathlib.Path(request[folder])
                configuration = Configuration(**request)
                prepared = peer.prepare(configuration)
                answer = {}
            elif prepared is None:
                answer = {"error": "nothing is prepared"}
            elif command == "check":
                prepared.call()
                for name, array in prepared.outputs().items():
                    configuration.write(name, array)
                answer = {}
            elif command == "run":
                answer = {"milliseconds": prepared.milliseconds(request["iterations"])}
            else:
                answer = {"error": f"no command `{command}`"}
        except Refused as reason:
            answer = {"refused": str(reason)}
        except Exception as error:  # told to whoever asked, who goes on without this peer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
