from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from appliance.models.manifest import Precision, TensorEntry
from engine_builder.errors import BuildFailed
from engine_builder.export import check_against, export_module, simplify
from engine_builder.lint import lint
from tests.simulators import graphs

OUTPUTS = (TensorEntry(name="logits", datatype="FP32", shape=(1, 4)),)


def test_simplifying_folds_what_is_constant_and_names_every_node(tmp_path: Path) -> None:
    model = graphs.tiny_float_model()
    graphs.node(model, "conv").name = ""
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["w3"], ["w3_copy"], name="copy"))
    graphs.node(model, "head").input[1] = "w3_copy"
    source = graphs.save(model, tmp_path / "raw.onnx")
    simplify(source, tmp_path / "simple.onnx")
    simple = onnx.load(tmp_path / "simple.onnx")
    assert "Identity" not in {node.op_type for node in simple.graph.node}
    assert all(node.name for node in simple.graph.node)
    assert lint(simple, Precision.FP32) == ()


def test_a_file_that_does_not_agree_is_a_mistake(tmp_path: Path) -> None:
    path = graphs.save(graphs.tiny_float_model(), tmp_path / "model.onnx")
    sample = next(graphs.samples(1))
    wrong = {"logits": np.array([[1.0, -1.0, 1.0, -1.0]], np.float32)}
    with pytest.raises(
        BuildFailed, match="expected logits of model.onnx to agree with torch".replace(".", r"\.")
    ):
        check_against(path, sample, wrong, OUTPUTS)
    other = (TensorEntry(name="logits", datatype="FP32", shape=(1, 5)),)
    with pytest.raises(BuildFailed, match=re.escape("expected shape (1, 5) of logits and got (1, 4)")):
        check_against(path, sample, wrong, other)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_module_with_a_dynamic_batch_is_exported_in_the_form(tmp_path: Path, exporter: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is in the build extra only")
    pytest.importorskip("onnxscript", reason="onnxscript is in the build extra only")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 4),
    ).eval()
    inputs = (TensorEntry(name="image", datatype="FP32", shape=(-1, 1, 8, 8)),)
    outputs = (TensorEntry(name="logits", datatype="FP32", shape=(-1, 4)),)
    target = tmp_path / "model.onnx"
    found = export_module(
        module, target, inputs, outputs, 18, "dynamo" if exporter == "dynamo" else "torchscript"
    )
    assert found["logits"].cosine > 0.99999
    model = onnx.load(target)
    assert lint(model, Precision.FP32, dynamic_batch=True) == ()
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_promised_outputs_have_to_be_there(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is in the build extra only")
    inputs = (TensorEntry(name="image", datatype="FP32", shape=(1, 4)),)
    two = (*OUTPUTS, TensorEntry(name="more", datatype="FP32", shape=(1, 4)))
    with pytest.raises(BuildFailed, match="expected 2 outputs of the module and got 1"):
        export_module(torch.nn.Linear(4, 4), tmp_path / "m.onnx", inputs, two, 17, "torchscript")
    deep = (TensorEntry(name="image", datatype="FP32", shape=(1, -1)),)
    with pytest.raises(BuildFailed, match="expected only the first dimension to be dynamic"):
        export_module(torch.nn.ReLU(), tmp_path / "m.onnx", deep, OUTPUTS, 17, "torchscript")
