"""Small ONNX graphs made by hand: a float network of three layers, and the same in the one QDQ form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
CLASSES = 4


def tiny_float_model(opset: int = 18, batch: int | str = 1, seed: int = 3) -> onnx.ModelProto:
    """Conv → Relu → ConvTranspose → global mean → Gemm, input [batch, 1, 8, 8], output [batch, 4]."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(0, 0.5, (6, 1, 3, 3)),
        "b1": rng.normal(0, 0.1, 6),
        "w2": rng.normal(0, 0.3, (6, 5, 2, 2)),
        "w3": rng.normal(0, 0.6, (CLASSES, 5)),
        "b3": rng.normal(0, 0.1, CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("ConvTranspose", ["r1", "w2"], ["c2"], name="up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], name="head", transB=1),
    ]
    return _model(
        nodes,
        {name: array.astype(np.float32) for name, array in weights.items()},
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        opset,
    )


def tiny_quantized_model() -> onnx.ModelProto:
    """One Conv in the form: int8 with zero point 0, a scale for each channel, one for the activation."""
    rng = np.random.default_rng(5)
    tensors: dict[str, NDArray[Any]] = {
        "x_scale": np.float32(0.02),
        "x_zero": np.int8(0),
        "w": rng.integers(-127, 128, (6, 1, 3, 3)).astype(np.int8),
        "w_scale": rng.uniform(0.001, 0.01, 6).astype(np.float32),
        "w_zero": np.zeros(6, np.int8),
        "bias": rng.normal(0, 0.1, 6).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "x_scale", "x_zero"], ["xq"], name="x_q"),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"], name="x_dq"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], name="w_dq", axis=0),
        helper.make_node("Conv", ["xd", "wd", "bias"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    return _model(
        nodes,
        tensors,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, SIZE, SIZE])],
        18,
    )


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node of that name."""
    return next(node for node in model.graph.node if node.name == name)


def replace_tensor(model: onnx.ModelProto, name: str, array: NDArray[Any]) -> None:
    """Put another array in the place of an initialiser."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def samples(count: int, batch: int = 1, seed: int = 1) -> Iterator[dict[str, NDArray[Any]]]:
    """Random inputs of `tiny_float_model`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {"image": rng.normal(0, 1, (batch, 1, SIZE, SIZE)).astype(np.float32)}


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def _model(
    nodes: list[onnx.NodeProto],
    tensors: dict[str, NDArray[Any]],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opset: int,
) -> onnx.ModelProto:
    initialisers = [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    return model
