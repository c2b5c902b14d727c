"""Reads which operators an ONNX file uses, without the onnx package: a box has no need of all of it.

Walks the protobuf wire format (protobuf.dev/programming-guides/encoding) of onnx.proto3: ModelProto.graph
is field 7, GraphProto.node field 1, NodeProto.op_type field 4. Weights are skipped over, not read.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from engines.errors import EngineLoadError

_MODEL_GRAPH, _GRAPH_NODE, _NODE_OP_TYPE = 7, 1, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Buffer = mmap.mmap | bytes


class _WireError(ValueError):
    """The bytes are no protobuf message."""


def operator_counts(path: Path) -> Counter[str]:
    """How often each operator stands in the file's main graph.

    Raises:
        EngineLoadError: the file cannot be read, is empty, or is no ONNX graph (torn, another format).
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            counts = _count(view)
    except OSError as exc:
        raise EngineLoadError(f"expected a readable ONNX file, got {path.name}: {exc.strerror}") from exc
    except ValueError as exc:  # mmap says ValueError for an empty file
        raise EngineLoadError(f"expected an ONNX file, got {path.name}: {exc}") from exc
    if not counts:
        raise EngineLoadError(f"expected an ONNX graph with operators, got {path.name} without any")
    return counts


def is_quantized(counts: Counter[str]) -> bool:
    """Whether activations are quantised explicitly (QuantizeLinear), so that integer arithmetic is meant."""
    return counts["QuantizeLinear"] > 0


def _count(view: _Buffer) -> Counter[str]:
    counts: Counter[str] = Counter()
    for graph in _submessages(view, (0, len(view)), _MODEL_GRAPH):
        for node in _submessages(view, graph, _GRAPH_NODE):
            for start, end in _submessages(view, node, _NODE_OP_TYPE):
                counts[bytes(view[start:end]).decode()] += 1
    return counts


def _submessages(view: _Buffer, span: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    position, end = span
    while position < end:
        tag, position = _varint(view, position, end)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, position = _varint(view, position, end)
        elif wire == _BYTES:
            size, position = _varint(view, position, end)
            if position + size > end:
                raise _WireError(f"expected {size} bytes at {position}, got {end - position}: truncated")
            if field == wanted:
                yield position, position + size
            position += size
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise _WireError(f"expected a protobuf wire type, got {wire} at byte {position}")
    if position != end:
        raise _WireError(f"expected a message that ends at byte {end}, got {position}")


def _varint(view: _Buffer, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
    raise _WireError(f"expected a varint, got none before byte {position}")
