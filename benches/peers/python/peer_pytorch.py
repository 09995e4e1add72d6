"""PyTorch's batch normalisation on the CPU."""

import torch

from protocol import Refused, Timed

DTYPES = ("f32", "f64")
aten = torch.ops.aten


class Peer:
    def __init__(self, preallocated):
        self.preallocated = preallocated
        self.name = "PyTorch, out-variants" if preallocated else "PyTorch"
        self.version = torch.__version__
        self.notes = ["backward: aten.native_batch_norm_backward, which only returns new tensors"]
        if preallocated:
            self.notes.append(
                "training, inference: aten.native_batch_norm.out into tensors made once; the "
                "allocator of the process keeps freed memory"
            )
        else:
            self.notes.append("training, inference: torch.nn.functional.batch_norm, as it comes")

    def prepare(self, configuration):
        if configuration.dtype not in DTYPES:
            raise Refused(f"measured in {' and '.join(DTYPES)} only")
        torch.set_num_threads(configuration.threads)
        torch.set_grad_enabled(False)
        return Prepared(configuration, self.preallocated).timed()


class Prepared:
    """The operands, and a call for each operation."""

    def __init__(self, configuration, preallocated):
        self.configuration = configuration
        self.preallocated = preallocated
        self.x = self.tensor("x")
        self.gamma, self.beta = self.vector("gamma"), self.vector("beta")
        self.mean, self.var = self.vector("running_mean"), self.vector("running_var")
        self.y = torch.empty_like(self.x)
        self.saved = [torch.empty_like(self.gamma) for _ in range(2)]

    def vector(self, name):
        return torch.from_numpy(self.configuration.read(name))

    def tensor(self, name):
        """Channels-last arrays are seen as PyTorch sees them: dimension 1 with stride 1."""
        tensor = torch.from_numpy(self.configuration.read(name)).clone()
        return tensor.movedim(-1, 1) if self.configuration.channels_last else tensor

    def array(self, tensor):
        if self.configuration.channels_last:
            tensor = tensor.movedim(1, -1)
        return tensor.contiguous().numpy()

    def timed(self):
        operation = self.configuration.operation
        if operation == "backward":
            return self.backward()
        return self.out(operation == "training") if self.preallocated else self.stock(operation == "training")

    def stock(self, training):
        momentum, eps = self.configuration.momentum, self.configuration.eps

        def call():
            self.y = torch.nn.functional.batch_norm(
                self.x, self.mean, self.var, self.gamma, self.beta, training, momentum, eps
            )

        return Timed(call, lambda: {"y": self.array(self.y)})

    def out(self, training):
        momentum, eps = self.configuration.momentum, self.configuration.eps
        outs = dict(out=self.y, save_mean=self.saved[0], save_invstd=self.saved[1])
        arguments = (self.x, self.gamma, self.beta, self.mean, self.var, training, momentum, eps)
        return Timed(
            lambda: aten.native_batch_norm.out(*arguments, **outs),
            lambda: {"y": self.array(self.y)},
        )

    def backward(self):
        momentum, eps = self.configuration.momentum, self.configuration.eps
        dy = self.tensor("dy")
        running = (self.mean, self.var)
        _, mean, inv_std = aten.native_batch_norm(
            self.x, self.gamma, self.beta, *running, True, momentum, eps
        )
        rest = (self.x, self.gamma, *running, mean, inv_std, True, eps, [True, True, True])
        gradients = {}

        def call():
            gradients["of"] = aten.native_batch_norm_backward(dy, *rest)

        def outputs():
            dx, dgamma, dbeta = gradients["of"]
            return {"dx": self.array(dx), "dgamma": dgamma.numpy(), "dbeta": dbeta.numpy()}

        return Timed(call, outputs)
