"""What a YOLO export says about itself: input, layout, classes in the head, names, and who divides by 255.

Nothing is believed that can be read from the graph: the number of classes comes from the scores inside it, so
a label list can be held against it in both layouts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from appliance.models.film_contract import BOX_CHANNELS, ROW_COLUMNS, HeadLayout, cells
from appliance.models.manifest import Precision
from engine_builder.errors import BuildFailed
from engine_builder.graph import consumers

_DATATYPES: Final[dict[int, str]] = {TensorProto.FLOAT: "FP32", TensorProto.FLOAT16: "FP16"}
_TRANSPARENT: Final = frozenset(("Cast", "Identity", "QuantizeLinear", "DequantizeLinear"))
_ARITHMETIC: Final = frozenset(("Div", "Mul", "Sub", "Add", "BatchNormalization"))
_FULL_SCALE: Final = 255.0
_TOLERANCE: Final = 0.01
"""A factor within 1 % of 1/255 (1/256 is used too, and half precision rounds) divides by 255."""


@dataclass(frozen=True)
class YoloGraph:
    """An export, as read from its graph."""

    model: onnx.ModelProto
    input_name: str
    output_name: str
    datatype: str  # of input and output: FP32 or FP16
    size: int  # side of the square input, pixels
    output_shape: tuple[int, ...]
    layout: HeadLayout
    classes: int  # in the head
    names: tuple[str, ...]  # of the export's own metadata, in class order; empty where it has none
    divisor: int  # what the box has to divide grey levels by: 255, or 1 where the graph does it
    precision: Precision


def read_yolo_graph(path: Path) -> YoloGraph:
    """Read an ONNX file that a user exported from a YOLO detector.

    Raises:
        BuildFailed: not readable, not a detector in one of the two layouts, or with another input scaling.
    """
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    except Exception as exc:  # protobuf, onnx and missing external weights raise errors of several types
        raise BuildFailed(f"expected {path.name} to be an ONNX file and got: {exc}") from exc
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BuildFailed(
            f"expected a detector with one input and one output and got {len(inputs)} and {len(graph.output)}"
        )
    size = _size(inputs[0])
    shape = _shape(graph.output[0])
    datatype = _DATATYPES.get(inputs[0].type.tensor_type.elem_type)
    if datatype is None or graph.output[0].type.tensor_type.elem_type != (
        inputs[0].type.tensor_type.elem_type
    ):
        raise BuildFailed("expected input and output both in float32 or both in float16 and got others")
    layout, classes = _head(graph, shape, size)
    return YoloGraph(
        model=model,
        input_name=inputs[0].name,
        output_name=graph.output[0].name,
        datatype=datatype,
        size=size,
        output_shape=shape,
        layout=layout,
        classes=classes,
        names=_names({entry.key: entry.value for entry in model.metadata_props}),
        divisor=_divisor(graph, inputs[0].name),
        precision=_precision(graph),
    )


def _shape(entry: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Sizes of a tensor; -1 for a dynamic one."""
    dimensions = entry.type.tensor_type.shape.dim
    return tuple(one.dim_value if one.HasField("dim_value") else -1 for one in dimensions)


def _size(entry: onnx.ValueInfoProto) -> int:
    shape = _shape(entry)
    if -1 in shape:
        raise BuildFailed(
            f"expected a fixed input shape and got {list(shape)}: export with a batch of 1 and dynamic=False"
        )
    if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3]:
        raise BuildFailed(f"expected an input of shape [1, 3, S, S] and got {list(shape)}")
    return int(shape[2])


def _head(graph: onnx.GraphProto, shape: tuple[int, ...], size: int) -> tuple[HeadLayout, int]:
    """Layout and number of classes."""
    number = cells(size)
    inside = _score_channels(graph, number)
    if len(shape) == 3 and shape[0] == 1 and shape[2] == number and shape[1] > BOX_CHANNELS:
        classes = shape[1] - BOX_CHANNELS
        if inside not in (None, classes):
            raise BuildFailed(
                f"expected {classes} classes, as the output's shape says, and got {inside} in the head"
            )
        return HeadLayout.GRID, classes
    if len(shape) == 3 and (shape[0], shape[2]) == (1, ROW_COLUMNS) and shape[1] > 0:
        if inside is None:
            raise BuildFailed(
                f"expected class scores over {number} cells inside the graph, to count the classes, and found"
                " none"
            )
        return HeadLayout.END_TO_END, inside
    raise BuildFailed(
        f"expected an output of shape [1, 4 + classes, {number}] or [1, rows, {ROW_COLUMNS}] for an input of"
        f" {size}² and got {list(shape)}: is it a YOLO11 detector?"
    )


def _score_channels(graph: onnx.GraphProto, number: int) -> int | None:
    """Channels of the sigmoid over all cells, which makes the class scores; None where there is none."""
    shapes = {entry.name: _shape(entry) for entry in (*graph.value_info, *graph.output)}
    found = set()
    for node in graph.node:
        shape = shapes.get(node.output[0], ()) if node.op_type == "Sigmoid" else ()
        if len(shape) == 3 and shape[0] == 1 and number in shape[1:]:
            found.add(shape[2] if shape[1] == number else shape[1])
    if len(found) > 1:
        raise BuildFailed(f"expected one set of class scores and got heads of {sorted(found)} classes")
    return int(found.pop()) if found else None


def _names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names of the export's metadata: a dictionary from class number to name, written as text."""
    text = metadata.get("names", "")
    if not text:
        return ()
    try:
        tree = ast.literal_eval(text)
        pairs = sorted((int(number), str(name)) for number, name in dict(tree).items())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise BuildFailed(
            "expected class names in the graph's metadata and got something else there"
        ) from exc
    if [number for number, _ in pairs] != list(range(len(pairs))):
        raise BuildFailed("expected class numbers from 0 without a gap in the graph's metadata")
    return tuple(name.strip() for _, name in pairs)


def _divisor(graph: onnx.GraphProto, source: str) -> int:
    """255 where the graph takes 0…1; 1 where it divides by 255 itself, so that nothing is divided twice.

    A scaling that was folded into the first weights cannot be seen; exporters do not fold across the input.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    readers = consumers(graph)
    name = source
    while len(readers.get(name, [])) == 1:
        node = readers[name][0]
        if node.op_type in _ARITHMETIC:
            value = constants.get(node.input[1]) if len(node.input) > 1 else None
            if value is not None and value.size == 1 and node.op_type in ("Div", "Mul"):
                factor = float(value.ravel()[0]) if node.op_type == "Div" else 1 / float(value.ravel()[0])
                if abs(factor / _FULL_SCALE - 1) < _TOLERANCE:
                    return 1
            raise BuildFailed(
                f"expected an input in 0…1 or a graph that divides it by 255, and got {node.op_type} with"
                f" {_shown(value)} before the first layer: that scaling is not served"
            )
        if node.op_type not in _TRANSPARENT:
            break
        name = node.output[0]
    return int(_FULL_SCALE)


def _shown(value: np.ndarray | None) -> str:
    return "a computed value" if value is None else np.array2string(value.ravel()[:4], precision=4)


def _precision(graph: onnx.GraphProto) -> Precision:
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return Precision.INT8
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    return Precision.FP16 if halves else Precision.FP32
