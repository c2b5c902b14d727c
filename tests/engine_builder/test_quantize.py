from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from appliance.models.golden import agreement
from appliance.models.manifest import Precision
from engine_builder.errors import BuildFailed
from engine_builder.lint import lint
from engine_builder.quantize import CalibrationMethod, QuantizationSettings, quantize
from tests.simulators import graphs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return graphs.save(graphs.tiny_float_model(), tmp_path / "fp32.onnx")


@pytest.mark.parametrize("method", list(CalibrationMethod))
def test_the_result_is_in_the_form_and_close_to_the_float_graph(
    source: Path, tmp_path: Path, method: CalibrationMethod
) -> None:
    target = tmp_path / "int8.onnx"
    summary = quantize(source, target, graphs.samples(16), QuantizationSettings(method))
    assert summary.quantized == ("conv", "up", "head")
    assert summary.samples == 16
    model = onnx.load(target)
    assert lint(model, Precision.INT8) == ()
    assert [entry.domain for entry in model.opset_import] == [""]
    probe = next(graphs.samples(1, seed=99))
    answers = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, probe)[0]
        for path in (source, target)
    ]
    assert agreement(answers[1], answers[0]).cosine > 0.99


def test_operators_that_the_settings_name_stay_in_float(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "int8.onnx"
    summary = quantize(source, target, graphs.samples(4), QuantizationSettings(exclude=("he.d", "up")))
    assert summary.quantized == ("conv",)
    assert summary.excluded == ("up", "head")
    model = onnx.load(target)
    assert graphs.node(model, "head").input[1] == "w3"
    assert lint(model, Precision.INT8) == ()


def test_products_of_two_activations_stay_in_float(tmp_path: Path) -> None:
    model = graphs.tiny_float_model()
    model.graph.node.extend(
        [
            onnx.helper.make_node("Transpose", ["logits"], ["turned"], name="turn"),
            onnx.helper.make_node("MatMul", ["logits", "turned"], ["product"], name="product"),
        ]
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, [1, 1]))
    source = graphs.save(model, tmp_path / "fp32.onnx")
    summary = quantize(source, tmp_path / "int8.onnx", graphs.samples(4), QuantizationSettings())
    assert summary.weightless == ("product",)
    assert lint(onnx.load(tmp_path / "int8.onnx"), Precision.INT8) == ()


def test_a_pattern_that_matches_nothing_is_a_mistake(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BuildFailed, match="expected every exclude pattern to match a node and got none for nose"
    ):
        quantize(source, tmp_path / "x.onnx", graphs.samples(1), QuantizationSettings(exclude=("nose",)))


def test_nothing_to_quantise_is_a_mistake(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="expected at least one of Conv"):
        quantize(source, tmp_path / "x.onnx", graphs.samples(1), QuantizationSettings(exclude=(".*",)))


def test_no_samples_is_a_mistake(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="expected at least one calibration sample and got none"):
        quantize(source, tmp_path / "x.onnx", iter(()), QuantizationSettings())


def test_samples_that_are_not_finite_are_a_mistake(source: Path, tmp_path: Path) -> None:
    bad = {"image": np.full((1, 1, graphs.SIZE, graphs.SIZE), np.nan, np.float32)}
    with pytest.raises(
        BuildFailed, match="expected finite calibration data and got NaN or infinity in image"
    ):
        quantize(source, tmp_path / "x.onnx", iter([bad]), QuantizationSettings())
