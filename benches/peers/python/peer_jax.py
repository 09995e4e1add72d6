"""Batch normalisation in JAX, compiled by XLA for the CPU: JAX has no such layer of its own."""

import jax
import numpy
from jax import numpy as jnp

from protocol import Refused, Timed

DTYPES = ("f32",)


class Peer:
    def __init__(self, fast_variance):
        self.fast_variance = fast_variance
        self.name = "JAX, fast variance" if fast_variance else "JAX"
        self.version = jax.__version__
        self.notes = [
            "the formulas, compiled as one function; outputs go to donated buffers of the last call",
            "backward: from the saved mean and 1/sqrt(variance + eps)",
        ]
        if fast_variance:
            self.notes.append("variance as mean(x * x) - mean(x) ** 2, which is Flax's default")

    def prepare(self, configuration):
        if configuration.dtype not in DTYPES:
            raise Refused(f"measured in {' and '.join(DTYPES)} only")
        if self.fast_variance and configuration.operation != "training":
            raise Refused("the same as JAX but in training")
        read = lambda name: jax.device_put(configuration.read(name))
        x, gamma, beta = read("x"), read("gamma"), read("beta")
        running = (read("running_mean"), read("running_var"))
        norm = Norm(configuration, self.fast_variance)
        if configuration.operation == "training":
            return timed(norm.training, (x, gamma, beta), (jnp.empty_like(x), *running), ["y"])
        if configuration.operation == "inference":
            return timed(norm.inference, (x, gamma, beta, *running), (jnp.empty_like(x),), ["y"])
        mean, inv_std = jax.jit(norm.statistics)(x)[::2]
        kept = (read("dy"), x, gamma, mean, inv_std)
        old = (jnp.empty_like(x), jnp.empty_like(gamma), jnp.empty_like(gamma))
        return timed(norm.backward, kept, old, ["dx", "dgamma", "dbeta"])


def timed(function, kept, old, names):
    """Calls `function(kept, old)`, whose results take the place of `old` the next time."""
    compiled = jax.jit(function, donate_argnums=1, keep_unused=True)
    state = {"old": old}

    def call():
        state["old"] = jax.block_until_ready(compiled(kept, state["old"]))

    return Timed(call, lambda: {n: numpy.asarray(a) for n, a in zip(names, state["old"])})


class Norm:
    """The formulas for one layout."""

    def __init__(self, configuration, fast_variance):
        rank = len(configuration.shape)
        channel = rank - 1 if configuration.channels_last else 1
        self.axes = tuple(axis for axis in range(rank) if axis != channel)
        self.spread = [-1 if axis == channel else 1 for axis in range(rank)]
        self.count = numpy.prod(configuration.shape) // configuration.channels
        self.eps, self.momentum = configuration.eps, configuration.momentum
        self.fast_variance = fast_variance

    def wide(self, vector):
        return vector.reshape(self.spread)

    def statistics(self, x):
        mean = jnp.mean(x, self.axes)
        if self.fast_variance:
            variance = jnp.mean(x * x, self.axes) - mean * mean
        else:
            variance = jnp.var(x, self.axes)
        return mean, variance, jax.lax.rsqrt(variance + self.eps)

    def normalised(self, x, mean, inv_std, gamma, beta):
        return (x - self.wide(mean)) * self.wide(inv_std * gamma) + self.wide(beta)

    def training(self, kept, old):
        x, gamma, beta = kept
        _, running_mean, running_var = old
        mean, variance, inv_std = self.statistics(x)
        unbiased = variance * (self.count / (self.count - 1))
        blend = lambda running, new: (1 - self.momentum) * running + self.momentum * new
        y = self.normalised(x, mean, inv_std, gamma, beta)
        return y, blend(running_mean, mean), blend(running_var, unbiased)

    def inference(self, kept, old):
        x, gamma, beta, mean, variance = kept
        return (self.normalised(x, mean, jax.lax.rsqrt(variance + self.eps), gamma, beta),)

    def backward(self, kept, old):
        dy, x, gamma, mean, inv_std = kept
        x_hat = (x - self.wide(mean)) * self.wide(inv_std)
        dbeta = jnp.sum(dy, self.axes)
        dgamma = jnp.sum(dy * x_hat, self.axes)
        of_batch = self.wide(dbeta / self.count) + x_hat * self.wide(dgamma / self.count)
        return (dy - of_batch) * self.wide(gamma * inv_std), dgamma, dbeta
