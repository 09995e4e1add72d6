"""The few functions of oneDNN's C interface that batch normalisation needs.

Numbers are those of `oneapi/dnnl/dnnl_types.h` of version 3.2, which requirements.txt pins: tags of
formats move between versions.
"""

import ctypes
import pathlib
import sys

FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128
USE_GLOBAL_STATS, USE_SCALE, USE_SHIFT = 1, 2, 4
ARG_SRC, ARG_DST, ARG_MEAN, ARG_VARIANCE = 1, 17, 49, 50
ARG_SCALE, ARG_SHIFT, ARG_DIFF_SCALE, ARG_DIFF_SHIFT = 51, 52, 255, 256
ARG_DIFF_SRC, ARG_DIFF_DST = 129, 145
F32 = 3
CPU = 1
IN_ORDER = 1
# aBc16b, aBcd16b (nChw16c), aBcde16b, by the number of dimensions.
BLOCKED_TAGS = {3: 56, 4: 78, 5: 121}
MAX_DIMS = 12

Dims = ctypes.c_int64 * MAX_DIMS
Handle = ctypes.c_void_p
EPS = ctypes.c_float


class Argument(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_int), ("memory", Handle)]


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]


LIBRARY = ctypes.CDLL(str(pathlib.Path(sys.prefix) / "lib" / "libdnnl.so.3"))
LIBRARY.dnnl_version.restype = ctypes.POINTER(Version)


def version():
    found = LIBRARY.dnnl_version().contents
    return f"{found.major}.{found.minor}.{found.patch}"


def create(function, *arguments):
    """Calls a function whose first argument is where it puts what it makes."""
    made = Handle()
    succeed(getattr(LIBRARY, function)(ctypes.byref(made), *arguments), function)
    return made


def succeed(status, function):
    if status != 0:
        raise RuntimeError(f"{function} gave status {status}")


def dims(values):
    return Dims(*values, *[0] * (MAX_DIMS - len(values)))


class Engine:
    """The CPU and a stream of work for it."""

    def __init__(self):
        self.engine = create("dnnl_engine_create", CPU, ctypes.c_size_t(0))
        self.stream = create("dnnl_stream_create", self.engine, ctypes.c_uint(IN_ORDER))

    def strided(self, shape, strides):
        """A description of memory by its strides."""
        function = "dnnl_memory_desc_create_with_strides"
        return create(function, len(shape), dims(shape), F32, dims(strides))

    def blocked(self, shape):
        """A description of memory in blocks of 16 channels."""
        function = "dnnl_memory_desc_create_with_tag"
        return create(function, len(shape), dims(shape), F32, BLOCKED_TAGS[len(shape)])

    def forward_descriptor(self, kind, data, eps, flags):
        function = "dnnl_batch_normalization_forward_primitive_desc_create"
        return create(function, self.engine, kind, data, data, EPS(eps), ctypes.c_uint(flags), None)

    def backward_descriptor(self, data, eps, flags, hint):
        function = "dnnl_batch_normalization_backward_primitive_desc_create"
        rest = (EPS(eps), ctypes.c_uint(flags), hint, None)
        return create(function, self.engine, BACKWARD, data, data, data, *rest)

    def primitive(self, descriptor, operands):
        """A call of what is described, on arrays that are read and written in place."""
        primitive = create("dnnl_primitive_create", descriptor)
        arguments = (Argument * len(operands))()
        for slot, (number, (description, array)) in zip(arguments, operands.items()):
            pointer = Handle(array.ctypes.data)
            slot.argument = number
            slot.memory = create("dnnl_memory_create", description, self.engine, pointer)
        execute, wait, stream = LIBRARY.dnnl_primitive_execute, LIBRARY.dnnl_stream_wait, self.stream
        kept = [array for _, array in operands.values()]

        def call():
            succeed(execute(primitive, stream, len(kept), arguments), "dnnl_primitive_execute")
            succeed(wait(stream), "dnnl_stream_wait")

        return call
