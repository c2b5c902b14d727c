"""The part of the lint that reads QuantizeLinear and DequantizeLinear: is it the one form, pair by pair?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from engine_builder.graph import consumers, producers
from engine_builder.quantize import QUANTIZED_OPS

Sentence = tuple[str, str]
"""A node's name and what is wrong there."""

_TYPE_NAMES: dict[int, str] = {
    TensorProto.UINT8: "uint8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.INT32: "int32",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "uint4",
    TensorProto.FLOAT8E4M3FN: "float8",
    TensorProto.FLOAT8E5M2: "float8",
}


def qdq_findings(graph: onnx.GraphProto) -> Iterator[Sentence]:
    """Everything in a graph's quantisation that is not the form; nothing where it has no quantisation."""
    reader = _Reader(graph)
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            yield from reader.quantize(node)
        elif node.op_type == "DequantizeLinear":
            yield from reader.dequantize(node)
        elif node.op_type in QUANTIZED_OPS:
            yield from reader.operator(node)


class _Reader:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t
        self.producers = producers(graph)
        self.consumers = consumers(graph)
        self.outputs = {entry.name for entry in graph.output}

    def quantize(self, node: onnx.NodeProto) -> Iterator[Sentence]:
        if node.input[0] in self.constants:
            yield (
                node.name,
                "expected weights stored as int8 and got float weights that are quantised at run time",
            )
        readers = self.consumers.get(node.output[0], [])
        if not readers or any(reader.op_type != "DequantizeLinear" for reader in readers):
            names = ", ".join(sorted({reader.op_type for reader in readers})) or "nothing"
            yield (
                node.name,
                f"expected QuantizeLinear to be followed by DequantizeLinear only and got {names}",
            )
        if node.output[0] in self.outputs:
            yield node.name, "expected float outputs of the graph and got a quantised one"
        yield from self._parameters(node, weights=False)

    def dequantize(self, node: onnx.NodeProto) -> Iterator[Sentence]:
        stored = self.constants.get(node.input[0])
        source = self.producers.get(node.input[0])
        if stored is not None:
            yield from self._stored(node, stored)
            return
        if source is None or source.op_type != "QuantizeLinear":
            got = source.op_type if source is not None else "an input of the graph"
            yield node.name, f"expected DequantizeLinear to read int8 weights or QuantizeLinear and got {got}"
            return
        if list(source.input[1:]) != list(node.input[1:]) and not self._same_parameters(source, node):
            yield node.name, "expected the same scale in both halves of a pair and got two"
        yield from self._parameters(node, weights=False)

    def operator(self, node: onnx.NodeProto) -> Iterator[Sentence]:
        """An operator is quantised as a whole or not at all."""
        activation = self._dequantizer(node.input[0])
        weights = self._dequantizer(node.input[1])
        if activation is None and weights is None:
            return
        if activation is None:
            yield node.name, f"expected a pair on the activation of a quantised {node.op_type} and got none"
        if weights is None:
            yield node.name, f"expected a pair on the weights of a quantised {node.op_type} and got none"
        elif weights.input[0] not in self.constants:
            yield (
                node.name,
                f"expected constant weights of a quantised {node.op_type} and got a second activation",
            )
        else:
            yield from self._channels(node, weights)
        if activation is not None and activation.input[0] in self.constants:
            yield (
                node.name,
                f"expected an activation as first input of a quantised {node.op_type} and got weights",
            )
        if len(node.input) > 2 and node.input[2] and self._dequantizer(node.input[2]) is not None:
            yield node.name, "expected a float bias and got a quantised one"

    def _stored(self, node: onnx.NodeProto, stored: onnx.TensorProto) -> Iterator[Sentence]:
        if stored.data_type == TensorProto.INT32:
            yield node.name, "expected a float bias and got int32 behind DequantizeLinear"
            return
        if stored.data_type != TensorProto.INT8:
            got = _TYPE_NAMES.get(stored.data_type, TensorProto.DataType.Name(stored.data_type))
            yield node.name, f"expected int8 weights and got {got}"
        if len(stored.dims) > 1 and int(numpy_helper.to_array(stored).min(initial=0)) < -127:
            yield node.name, "expected weights from -127 to 127 and got -128, which is not symmetric"
        yield from self._parameters(node, weights=True)

    def _parameters(self, node: onnx.NodeProto, weights: bool) -> Iterator[Sentence]:
        kind = "weight" if weights else "activation"
        scale = self.constants.get(node.input[1])
        if scale is None:
            yield node.name, f"expected a constant {kind} scale and got a computed one"
            return
        values = numpy_helper.to_array(scale)
        if not (np.isfinite(values).all() and (values > 0).all()):
            yield (
                node.name,
                f"expected positive finite {kind} scales and got {float(values.min()):g} among them",
            )
        if not weights and values.size != 1:
            yield node.name, f"expected one activation scale for the tensor and got {values.size} by channel"
        yield from self._zero_point(node, kind)

    def _zero_point(self, node: onnx.NodeProto, kind: str) -> Iterator[Sentence]:
        if len(node.input) < 3 or not node.input[2]:
            yield node.name, f"expected an int8 {kind} zero point and got none, which means uint8"
            return
        zero = self.constants.get(node.input[2])
        if zero is None:
            yield node.name, f"expected a constant {kind} zero point and got a computed one"
            return
        if zero.data_type != TensorProto.INT8:
            got = _TYPE_NAMES.get(zero.data_type, TensorProto.DataType.Name(zero.data_type))
            yield node.name, f"expected {kind} quantisation in int8 and got {got}"
        values = numpy_helper.to_array(zero)
        if values.any():
            worst = values.ravel()[int(np.abs(values.astype(np.int64)).argmax())]
            yield node.name, f"expected symmetric {kind} quantisation with zero point 0 and got {int(worst)}"

    def _channels(self, node: onnx.NodeProto, weights: onnx.NodeProto) -> Iterator[Sentence]:
        stored = self.constants[weights.input[0]]
        scale = self.constants.get(weights.input[1])
        if scale is None:
            return  # said where the DequantizeLinear is read
        axis = _output_axis(node, len(stored.dims))
        channels = stored.dims[axis]
        got = int(np.prod(scale.dims)) if scale.dims else 1
        if len(scale.dims) == 0 or (got == 1 and channels > 1):
            yield (
                node.name,
                f"expected one weight scale for each of {channels} channels and got one for the tensor",
            )
            return
        said = next((a.i for a in weights.attribute if a.name == "axis"), 1)
        said = said % max(1, len(stored.dims))
        if got != channels or said != axis:
            yield (
                node.name,
                f"expected {channels} weight scales along axis {axis} and got {got} along axis {said}",
            )

    def _dequantizer(self, name: str) -> onnx.NodeProto | None:
        node = self.producers.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _same_parameters(self, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
        for left, right in zip(first.input[1:], second.input[1:], strict=False):
            a, b = self.constants.get(left), self.constants.get(right)
            if (
                a is None
                or b is None
                or not np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
            ):
                return False
        return len(first.input) == len(second.input)


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the weights that runs over output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i == 1 for a in node.attribute) else 1
    return rank - 1
