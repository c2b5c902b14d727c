"""The move from int8 to uint8 activations: the same numbers out, and nothing else touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="openvino is not installed")
onnx = pytest.importorskip("onnx", reason="the models of this test are made with onnx")
pytest.importorskip("onnxruntime", reason="the models of this test are quantised with onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engines.host import Processor  # noqa: E402
from engines.openvino_engine import OpenVinoEngine  # noqa: E402
from engines.openvino_rewrite import (  # noqa: E402
    Rewritten,
    drop_activation_pairs,
    has_quantized_activations,
    shift_activations_to_uint8,
)
from engines.options import EngineOptions, QuantizedGraph  # noqa: E402
from tests.simulators import onnx_models  # noqa: E402

FIELD = np.random.default_rng(2).normal(size=(1, 1, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    plain = onnx_models.save_segmenter(directory / "float.onnx")
    return onnx_models.quantize(plain, directory / "int8.onnx", [{"image": FIELD}])


def activations(path: Path) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)


def test_every_activation_of_a_pack_is_moved(segmenter: Path) -> None:
    model = openvino.Core().read_model(segmenter)
    assert has_quantized_activations(model)
    assert shift_activations_to_uint8(model) == Rewritten(activations(segmenter), 0)
    types = [
        node.get_output_element_type(0)
        for node in model.get_ops()
        if node.get_type_name() == "Convert"
        and node.input_value(0).get_node().get_type_name() == "FakeQuantize"
    ]
    assert types == [openvino.Type.u8] * activations(segmenter)
    assert shift_activations_to_uint8(model) == Rewritten(0, 0)


@pytest.mark.parametrize("scale", [0.02, 0.5])
def test_the_grid_is_the_same_for_every_value(tmp_path: Path, scale: float) -> None:
    """A lone pair, on values inside, on and beyond its range, before and after the move."""
    path = lone_pair(tmp_path, np.int8(0), scale)
    values = (np.arange(-300, 300, dtype=np.float32) * np.float32(scale / 2)).reshape(1, -1)
    core = openvino.Core()
    model = core.read_model(path)
    assert shift_activations_to_uint8(model) == Rewritten(1, 0)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    moved = core.compile_model(model, "CPU", exact)(values)[0]
    original = core.compile_model(core.read_model(path), "CPU", exact)(values)[0]
    np.testing.assert_array_equal(moved, original)
    assert moved.min() == np.float32(-128 * np.float32(scale))
    assert moved.max() == pytest.approx(127 * scale, rel=1e-6)


@pytest.mark.parametrize("zero_point", [np.uint8(128), np.uint8(3)])
def test_unsigned_pairs_are_left_alone(tmp_path: Path, zero_point: np.uint8) -> None:
    model = openvino.Core().read_model(lone_pair(tmp_path, zero_point, 0.1))
    assert shift_activations_to_uint8(model) == Rewritten(0, 0)


def test_an_int8_pair_off_centre_is_left_and_counted(tmp_path: Path) -> None:
    model = openvino.Core().read_model(lone_pair(tmp_path, np.int8(5), 0.1))
    assert shift_activations_to_uint8(model) == Rewritten(0, 1)


def test_dropping_the_pairs_leaves_no_rounding(segmenter: Path) -> None:
    model = openvino.Core().read_model(segmenter)
    assert drop_activation_pairs(model) == Rewritten(activations(segmenter), 0)
    assert not has_quantized_activations(model)


def test_a_cpu_that_saturates_gets_float_on_the_quantised_weights(segmenter: Path) -> None:
    old = Processor("Old CPU", "x86_64", frozenset({"avx2"}))
    with OpenVinoEngine(segmenter, processor=old) as engine:
        assert engine.info.precision == "FP32 (int8 weights)"
        assert "saturates" in engine.info.notes[0]
        float_on_old = engine.infer({"image": FIELD})["logits"]
    with OpenVinoEngine(segmenter, EngineOptions(quantized_graph=QuantizedGraph.FLOAT)) as engine:
        np.testing.assert_array_equal(engine.infer({"image": FIELD})["logits"], float_on_old)


def test_float_layers_stay_fp32_unless_less_is_allowed(segmenter: Path) -> None:
    with OpenVinoEngine(segmenter) as engine:
        assert engine.info.precision == "INT8"
    with OpenVinoEngine(segmenter, EngineOptions(reduced_float=True)) as engine:
        assert engine.info.precision in {"INT8", "INT8 (BF16 elsewhere)", "INT8 (FP16 elsewhere)"}


def lone_pair(directory: Path, zero_point: Any, scale: float) -> Path:
    kind = TensorProto.INT8 if zero_point.dtype == np.int8 else TensorProto.UINT8
    weights = [
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        numpy_helper.from_array(np.array(zero_point), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "n"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "pair", values[:1], values[1:], weights)
    assert weights[1].data_type == kind
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = directory / "pair.onnx"
    onnx.save(model, path)
    return path
