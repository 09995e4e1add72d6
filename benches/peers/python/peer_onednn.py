"""oneDNN's batch normalisation, through its C interface."""

import numpy

import onednn
from protocol import Refused, Timed, aligned

# The channels of a block, as in oneDNN's nChw16c.
BLOCK = 16


class Peer:
    def __init__(self, blocked):
        self.blocked = blocked
        self.name = "oneDNN, nChw16c" if blocked else "oneDNN"
        self.version = onednn.version()
        self.notes = [
            "training: mean and variance of the batch, no running statistics: oneDNN keeps none",
        ]
        if blocked:
            self.notes.append("its own blocked layout; x is converted beside the clock")

    def prepare(self, configuration):
        if configuration.dtype != "f32":
            raise Refused("measured in f32 only")
        if self.blocked:
            if configuration.channels_last:
                raise Refused("its layout is neither channels-first nor channels-last: see there")
            if len(configuration.shape) < 4 or configuration.channels % BLOCK:
                raise Refused(f"blocks of {BLOCK} channels and spatial dimensions are needed")
        return Prepared(configuration, self.blocked).timed()


class Prepared:
    """The operands as arrays that oneDNN reads and writes in place."""

    def __init__(self, configuration, blocked):
        self.configuration = configuration
        self.blocked = blocked
        self.engine = onednn.Engine()
        dims = list(configuration.shape)
        if configuration.channels_last:
            dims.insert(1, dims.pop())
        if blocked:
            self.data = self.engine.blocked(dims)
        else:
            self.data = self.engine.strided(dims, self.strides())
        self.vector = self.engine.strided([configuration.channels], [1])

    def strides(self):
        """Of N, C and the spatial dimensions, in values."""
        shape = self.configuration.shape
        strides = [int(numpy.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        if self.configuration.channels_last:
            strides.insert(1, strides.pop())
        return strides

    def tensor(self, name):
        array = self.configuration.read(name)
        return aligned(self.to_blocks(array) if self.blocked else array)

    def to_blocks(self, array):
        n, c, *spatial = array.shape
        return numpy.moveaxis(array.reshape(n, c // BLOCK, BLOCK, *spatial), 2, -1)

    def from_blocks(self, array):
        return numpy.moveaxis(array, -1, 2).reshape(self.configuration.shape) if self.blocked else array

    def read(self, name):
        return aligned(self.configuration.read(name))

    def like(self, array):
        return aligned(numpy.zeros_like(array))

    def timed(self):
        operation = self.configuration.operation
        if operation == "backward":
            return self.backward()
        x, gamma = self.tensor("x"), self.read("gamma")
        y = self.like(x)
        if operation == "inference":
            mean, variance = self.read("running_mean"), self.read("running_var")
        else:
            mean, variance = self.like(gamma), self.like(gamma)
        call = self.forward(operation == "inference", x, y, mean, variance, gamma)
        return Timed(call, lambda: {"y": self.from_blocks(y)})

    def forward(self, inference, x, y, mean, variance, gamma):
        kind = onednn.FORWARD_INFERENCE if inference else onednn.FORWARD_TRAINING
        flags = onednn.USE_SCALE | onednn.USE_SHIFT
        flags |= onednn.USE_GLOBAL_STATS if inference else 0
        self.hint = self.engine.forward_descriptor(kind, self.data, self.configuration.eps, flags)
        operands = {
            onednn.ARG_SRC: (self.data, x),
            onednn.ARG_DST: (self.data, y),
            onednn.ARG_MEAN: (self.vector, mean),
            onednn.ARG_VARIANCE: (self.vector, variance),
            onednn.ARG_SCALE: (self.vector, gamma),
            onednn.ARG_SHIFT: (self.vector, self.read("beta")),
        }
        return self.engine.primitive(self.hint, operands)

    def backward(self):
        x, dy, gamma = self.tensor("x"), self.tensor("dy"), self.read("gamma")
        dx, mean, variance = self.like(x), self.like(gamma), self.like(gamma)
        dgamma, dbeta = self.like(gamma), self.like(gamma)
        self.forward(False, x, self.like(x), mean, variance, gamma)()
        descriptor = self.engine.backward_descriptor(
            self.data, self.configuration.eps, onednn.USE_SCALE | onednn.USE_SHIFT, self.hint
        )
        operands = {
            onednn.ARG_SRC: (self.data, x),
            onednn.ARG_DIFF_DST: (self.data, dy),
            onednn.ARG_DIFF_SRC: (self.data, dx),
            onednn.ARG_MEAN: (self.vector, mean),
            onednn.ARG_VARIANCE: (self.vector, variance),
            onednn.ARG_SCALE: (self.vector, gamma),
            onednn.ARG_DIFF_SCALE: (self.vector, dgamma),
            onednn.ARG_DIFF_SHIFT: (self.vector, dbeta),
        }
        call = self.engine.primitive(descriptor, operands)
        outputs = lambda: {"dx": self.from_blocks(dx), "dgamma": dgamma, "dbeta": dbeta}
        return Timed(call, outputs)
