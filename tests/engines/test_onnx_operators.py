from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engines.errors import EngineLoadError
from engines.onnx_operators import is_quantized, operator_counts

onnx = pytest.importorskip("onnx", reason="the models of this test are made with onnx")
from tests.simulators import onnx_models  # noqa: E402 - needs onnx


def test_counts_are_those_of_the_onnx_package(tmp_path: Path) -> None:
    path = onnx_models.save_segmenter(tmp_path / "model.onnx")
    assert operator_counts(path) == Counter(node.op_type for node in onnx.load(path).graph.node)
    assert not is_quantized(operator_counts(path))


def test_every_torn_length_is_an_error_or_whole_nodes_fewer(tmp_path: Path) -> None:
    whole = onnx_models.save_arithmetic(tmp_path / "model.onnx").read_bytes()
    path = tmp_path / "torn.onnx"
    counted = 0
    messages: list[str] = []
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            counted += bool(operator_counts(path))
        except EngineLoadError as exc:
            messages.append(str(exc))
    assert all("torn.onnx" in message and str(tmp_path) not in message for message in messages)
    assert counted < 16  # only cuts behind the graph leave a message that can be read


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"PK\x03\x04 a zip file", b"\x08\x07"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineLoadError, match=r"model\.onnx"):
        operator_counts(path)


def test_a_graph_without_operators_is_refused(tmp_path: Path) -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    path = tmp_path / "empty.onnx"
    onnx.save(model, path)
    with pytest.raises(EngineLoadError, match="without any"):
        operator_counts(path)
