"""What a graph file must not carry."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from engine_builder.graph import save  # noqa: E402 - needs onnx


def test_a_saved_graph_tells_nothing_of_the_machine_that_exported_it(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"], doc_string="/home/somebody/network.py")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [result]))
    for part in (model, model.graph, model.graph.node[0], model.graph.input[0]):
        note = part.metadata_props.add()
        note.key, note.value = "stack_trace", "/home/somebody/network.py, line 3"
    save(model, tmp_path / "model.onnx")
    assert b"somebody" not in (tmp_path / "model.onnx").read_bytes()
    assert [n.op_type for n in onnx.load(tmp_path / "model.onnx").graph.node] == ["Relu"]
