"""ONNX Runtime's BatchNormalization on its CPU provider."""

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper

from protocol import Refused, Timed

VECTORS = ("gamma", "beta", "running_mean", "running_var")


class Peer:
    name = "ONNX Runtime"
    version = onnxruntime.__version__
    notes = ["input and output are bound once and stay where they are"]

    def prepare(self, configuration):
        if configuration.operation != "inference":
            raise Refused("the runtime has no training on the CPU")
        if configuration.channels_last:
            raise Refused("ONNX has channels at dimension 1 only")
        if configuration.dtype != "f32":
            raise Refused("measured in f32 only")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = configuration.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model(configuration), options, providers=["CPUExecutionProvider"]
        )
        x = onnxruntime.OrtValue.ortvalue_from_numpy(configuration.read("x"))
        y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(configuration.shape, numpy.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", y)
        return Timed(lambda: session.run_with_iobinding(binding), lambda: {"y": y.numpy()})


def model(configuration):
    """A graph of one node, its parameters constant."""
    node = helper.make_node(
        "BatchNormalization", ["x", *VECTORS], ["y"], epsilon=configuration.eps
    )
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, configuration.shape) for n in "xy"]
    constants = [onnx.numpy_helper.from_array(configuration.read(n), n) for n in VECTORS]
    graph = helper.make_graph([node], "batch_norm", ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
