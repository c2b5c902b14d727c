"""Refuses a graph that is not in the one form that every box can compile, with one sentence for each finding.

The form: standard operators that TensorRT's parser knows, static shapes but for an allowed batch, and for
INT8 explicit QDQ with symmetric int8, per-channel weights, per-tensor activations and float bias.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import onnx

from appliance.models.manifest import Precision
from engine_builder.graph import MAX_IR_VERSION
from engine_builder.lint_qdq import qdq_findings
from engine_builder.tensorrt_ops import DATA_DEPENDENT_OPS, MAX_TOP_K, SUPPORTED_OPS

OPSETS: Final = range(17, 21)
"""17 is what the exporters write; 20 is the newest that the parser of TensorRT 10.3 (JetPack 6) reads."""


class Rule(enum.Enum):
    """What a finding is about."""

    FILE = "file"  # format version, external data, double precision
    OPSET = "opset"  # operator set outside of what every runtime reads
    OPERATOR = "operator"  # not in TensorRT's parser, or with a restriction there
    SHAPE = "shape"  # dynamic where it must be static
    QUANTIZATION = "quantization"  # not the one QDQ form
    PRECISION = "precision"  # the graph's arithmetic is not what the manifest says


@dataclass(frozen=True)
class Finding:
    """One way in which a graph is not in the form."""

    rule: Rule
    where: str  # a node's or tensor's name, empty for the whole file
    sentence: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"[{self.rule.value}] {place}{self.sentence}"


def lint(model: onnx.ModelProto, precision: Precision, dynamic_batch: bool = False) -> tuple[Finding, ...]:
    """Check a graph.

    Args:
        model: with its weights inside.
        precision: what the pack's manifest will say.
        dynamic_batch: whether the first dimension of inputs and outputs may be dynamic.

    Returns:
        All findings; none means that the graph is in the form.
    """
    return (
        *_file(model),
        *_opset(model),
        *_operators(model.graph),
        *_shapes(model, dynamic_batch),
        *_precision(model.graph, precision),
        *(Finding(Rule.QUANTIZATION, where, sentence) for where, sentence in qdq_findings(model.graph)),
    )


def _file(model: onnx.ModelProto) -> Iterator[Finding]:
    if model.ir_version > MAX_IR_VERSION:
        sentence = f"expected file format {MAX_IR_VERSION} or older and got {model.ir_version}"
        yield Finding(Rule.FILE, "", sentence)
    if model.functions:
        yield Finding(Rule.FILE, "", f"expected no model-local functions and got {len(model.functions)}")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield Finding(
                Rule.FILE, tensor.name, "expected the weights inside the file and got external data"
            )
        if tensor.data_type == onnx.TensorProto.DOUBLE:
            yield Finding(Rule.FILE, tensor.name, "expected at most single precision and got double")


def _opset(model: onnx.ModelProto) -> Iterator[Finding]:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            if entry.version not in OPSETS:
                sentence = f"expected opset {OPSETS.start} to {OPSETS.stop - 1} and got {entry.version}"
                yield Finding(Rule.OPSET, "", sentence)
        else:
            yield Finding(Rule.OPSET, "", f"expected standard operators only and got domain {entry.domain}")


def _operators(graph: onnx.GraphProto) -> Iterator[Finding]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            sentence = f"expected a standard operator and got {node.domain}::{node.op_type}"
            yield Finding(Rule.OPERATOR, node.name, sentence)
        elif node.op_type in DATA_DEPENDENT_OPS:
            sentence = (
                f"expected static shapes throughout and got {node.op_type}, whose output depends on the data"
            )
            yield Finding(Rule.SHAPE, node.name, sentence)
        elif node.op_type not in SUPPORTED_OPS:
            sentence = f"expected an operator of TensorRT's parser and got {node.op_type}"
            yield Finding(Rule.OPERATOR, node.name, sentence)
        elif node.op_type == "TopK":
            yield from _top_k(node, constants)
        elif node.op_type == "MaxPool" and len([name for name in node.output if name]) > 1:
            yield Finding(
                Rule.OPERATOR, node.name, "expected MaxPool without indices and got them as an output"
            )
        elif node.op_type == "Resize" and _attribute(node, "mode") == "cubic":
            yield Finding(Rule.OPERATOR, node.name, "expected nearest or linear Resize and got cubic")


def _top_k(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> Iterator[Finding]:
    tensor = constants.get(node.input[1])
    if tensor is None:
        yield Finding(Rule.SHAPE, node.name, "expected a constant K of TopK and got a computed one")
        return
    count = int(onnx.numpy_helper.to_array(tensor).ravel()[0])
    if count >= MAX_TOP_K:
        sentence = f"expected K of TopK below {MAX_TOP_K} and got {count}"
        yield Finding(Rule.OPERATOR, node.name, sentence)


def _shapes(model: onnx.ModelProto, dynamic_batch: bool) -> Iterator[Finding]:
    initialisers = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in initialisers]
    for kind, entries in (("input", inputs), ("output", list(model.graph.output))):
        for entry in entries:
            yield from _dimensions(kind, entry, dynamic_batch)


def _dimensions(kind: str, entry: onnx.ValueInfoProto, dynamic_batch: bool) -> Iterator[Finding]:
    if not entry.type.tensor_type.HasField("shape"):
        yield Finding(Rule.SHAPE, entry.name, f"expected the {kind} to have a shape and got none")
        return
    for axis, dimension in enumerate(entry.type.tensor_type.shape.dim):
        static = dimension.HasField("dim_value") and dimension.dim_value > 0
        if not static and not (axis == 0 and dynamic_batch):
            allowed = "but the batch " if dynamic_batch else ""
            name = dimension.dim_param or "nothing"
            sentence = (
                f"expected every dimension {allowed}of the {kind} to be static and got {name} at axis {axis}"
            )
            yield Finding(Rule.SHAPE, entry.name, sentence)


def _precision(graph: onnx.GraphProto, precision: Precision) -> Iterator[Finding]:
    pairs = sum(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node)
    if precision is Precision.INT8 and pairs == 0:
        yield Finding(Rule.PRECISION, "", "expected an INT8 graph to have QDQ pairs and got none")
    if precision is not Precision.INT8 and pairs > 0:
        sentence = f"expected no quantisation in an {precision.value} graph and got {pairs} nodes of it"
        yield Finding(Rule.PRECISION, "", sentence)
    halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    if precision is Precision.FP16 and halves == 0:
        yield Finding(
            Rule.PRECISION, "", "expected an FP16 graph to have half-precision weights and got none"
        )
    if precision is not Precision.FP16 and halves > 0:
        sentence = f"expected no half-precision weights in an {precision.value} graph and got {halves}"
        yield Finding(Rule.PRECISION, "", sentence)


def _attribute(node: onnx.NodeProto, name: str) -> str:
    for attribute in node.attribute:
        if attribute.name == name:
            return str(attribute.s.decode())
    return ""
