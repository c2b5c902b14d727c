"""Small questions to an ONNX graph that several steps of the build ask."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Final

import onnx

MAX_IR_VERSION: Final = 10
"""Newest file format that every supported runtime reads (ONNX Runtime 1.20 is the oldest)."""


def constant_names(graph: onnx.GraphProto) -> set[str]:
    """Names of tensors that do not depend on the input: initialisers and what is computed from them alone."""
    names = {tensor.name for tensor in graph.initializer} | {
        tensor.values.name for tensor in graph.sparse_initializer
    }
    for node in graph.node:  # the nodes of a valid graph stand in topological order
        present = [name for name in node.input if name]
        if node.op_type == "Constant" or (present and all(name in names for name in present)):
            names.update(node.output)
    return names


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that computes each tensor."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor."""
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            if name:
                found[name].append(node)
    return found


def strip_unused_domains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove operator domains that no node uses, and write the oldest file format that fits."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    return model


def strip_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove what exporters note on the way: source lines, folders of the machine they ran on."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph whole or not at all, without the exporter's notes."""
    strip_notes(model)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(model.SerializeToString())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
