"""YOLO exports of a few nodes in every layout that users have: real arithmetic, bright cells are findings.

The score of a class in a cell grows with the cell's mean grey; its box is four cells wide. So the graphs find
something on every film, and a conversion that breaks them shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.models.film_contract import STRIDES, cells

ROWS = 300
STEEPNESS = 40.0
MIDDLE = 0.75
"""Mean grey (0…1) at which class 0 has a score of a half; every further class needs a little more."""


@dataclass(frozen=True)
class Export:
    """What kind of export to write."""

    size: int = 640
    classes: int = 3
    end_to_end: bool = False
    suppressed: bool = False  # end-to-end by NonMaxSuppression instead of by TopK alone
    divides: bool = False  # the graph divides by 255 itself
    names: tuple[str, ...] = ()  # into the metadata, as the exporter writes them
    dynamic: bool = False


def write_export(path: Path, export: Export) -> Path:
    """Write the ONNX file."""
    weights = dict(_weights(export))
    source = "images"
    nodes = []
    if export.divides:
        nodes.append(helper.make_node("Div", ["images", "full_scale"], ["unit"], name="divide"))
        source = "unit"
    parts = []
    for stride in STRIDES:
        nodes += [
            helper.make_node(
                "Conv",
                [source, f"w{stride}", "bias"],
                [f"c{stride}"],
                name=f"conv{stride}",
                strides=[stride, stride],
                kernel_shape=[stride, stride],
            ),
            helper.make_node("Reshape", [f"c{stride}", "flat"], [f"f{stride}"], name=f"reshape{stride}"),
        ]
        parts.append(f"f{stride}")
    nodes += [
        helper.make_node("Concat", parts, ["logits"], name="join", axis=2),
        helper.make_node("Sigmoid", ["logits"], ["scores"], name="score"),
    ]
    if not export.end_to_end:
        nodes.append(helper.make_node("Concat", ["centred", "scores"], ["output0"], name="head", axis=1))
        shape = [1, 4 + export.classes, cells(export.size)]
    else:
        nodes += _suppressed() if export.suppressed else _top()
        shape = [1, ROWS, 6]
    batch = "batch" if export.dynamic else 1
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, export.size, export.size])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if export.names:
        helper.set_model_props(model, {"names": str(dict(enumerate(export.names))), "task": "detect"})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _weights(export: Export) -> dict[str, NDArray[np.generic]]:
    size, number = export.size, cells(export.size)
    centres, sides = [], []
    for stride in STRIDES:
        at = (np.arange(size // stride) + 0.5) * stride
        grid = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
        centres.append(grid)
        sides.append(np.full_like(grid, 4.0 * stride))
    centre, side = np.concatenate(centres), np.concatenate(sides)
    corners = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    thresholds = MIDDLE + 0.03 * np.arange(export.classes)
    weights: dict[str, NDArray[np.generic]] = {
        f"w{stride}": np.full(
            (export.classes, 3, stride, stride), STEEPNESS / (3 * stride * stride), np.float32
        )
        for stride in STRIDES
    }
    weights |= {
        "bias": (-STEEPNESS * thresholds).astype(np.float32),
        "flat": np.array([1, export.classes, -1], np.int64),
    }
    if export.divides:
        weights["full_scale"] = np.array(255.0, np.float32)
    if not export.end_to_end:
        return weights | {"centred": np.concatenate([centre, side], 1).T[None].astype(np.float32)}
    weights |= {
        "corners": corners.astype(np.float32),
        "cells": np.array(number, np.int64),
        "last": np.array([2], np.int64),
    }
    if not export.suppressed:
        return weights | {"one_row": np.array([1, -1], np.int64), "rows": np.array([ROWS], np.int64)}
    return weights | {
        "batched": corners[None].astype(np.float32),
        "most": np.array(ROWS, np.int64),
        "overlap": np.array(0.45, np.float32),
        "least": np.array(0.05, np.float32),
        "class_column": np.array([1], np.int64),
        "box_column": np.array([2], np.int64),
        "every": np.array([-1], np.int64),
        "column": np.array([1], np.int64),
        "padding": np.zeros((ROWS, 6), np.float32),
        "from": np.array([0], np.int64),
        "to": np.array([ROWS], np.int64),
        "front": np.array([0], np.int64),
    }


def _top() -> list[onnx.NodeProto]:
    make = helper.make_node
    return [
        make("Reshape", ["scores", "one_row"], ["all"], name="all"),
        make("TopK", ["all", "rows"], ["best", "place"], name="top"),
        make("Div", ["place", "cells"], ["class"], name="class"),
        make("Mod", ["place", "cells"], ["cell"], name="cell"),
        make("Gather", ["corners", "cell"], ["boxes"], name="boxes", axis=0),
        make("Unsqueeze", ["best", "last"], ["score_column"], name="score_column"),
        make("Cast", ["class"], ["class_float"], name="class_float", to=TensorProto.FLOAT),
        make("Unsqueeze", ["class_float", "last"], ["class_last"], name="class_last"),
        make("Concat", ["boxes", "score_column", "class_last"], ["output0"], name="rows", axis=2),
    ]


def _suppressed() -> list[onnx.NodeProto]:
    make = helper.make_node
    return [
        make("NonMaxSuppression", ["batched", "scores", "most", "overlap", "least"], ["kept"], name="nms"),
        make("Gather", ["kept", "class_column"], ["class"], name="class", axis=1),
        make("Gather", ["kept", "box_column"], ["cell"], name="cell", axis=1),
        make("Reshape", ["cell", "every"], ["cell_flat"], name="cell_flat"),
        make("Gather", ["corners", "cell_flat"], ["boxes"], name="boxes", axis=0),
        make("Mul", ["class", "cells"], ["offset"], name="offset"),
        make("Add", ["offset", "cell"], ["place"], name="place"),
        make("Reshape", ["scores", "every"], ["all"], name="all"),
        make("Gather", ["all", "place"], ["score_column"], name="score_column", axis=0),
        make("Cast", ["class"], ["class_float"], name="class_float", to=TensorProto.FLOAT),
        make("Concat", ["boxes", "score_column", "class_float"], ["found"], name="found", axis=1),
        make("Concat", ["found", "padding"], ["padded"], name="padded", axis=0),
        make("Slice", ["padded", "from", "to"], ["cut"], name="cut"),
        make("Unsqueeze", ["cut", "front"], ["output0"], name="rows"),
    ]
