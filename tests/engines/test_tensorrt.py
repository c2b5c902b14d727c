"""What is TensorRT's own: plans, profiles, progress, memory on the GPU, and failures without exceptions."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the double of TensorRT reads models with the onnx package")
pytest.importorskip("onnxruntime", reason="the double of TensorRT computes with onnxruntime")

from engines.cache import CompileCache
from engines.cuda import first_cuda_device
from engines.errors import (
    EngineInputError,
    EngineLoadError,
    EngineRunError,
    RuntimeUnavailable,
)
from engines.options import EngineOptions, QuantizedGraph
from engines.tensorrt_bindings import TensorRtBindings, load_bindings
from engines.tensorrt_engine import TensorRtEngine
from tests.simulators import onnx_models
from tests.simulators.cuda_double import Cuda
from tests.simulators.tensorrt_double import TensorRt

ORDINARY = EngineOptions(max_batch=8, typical_batch=4)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_models.save_classifier(tmp_path_factory.mktemp("models") / "classifier.onnx")


@pytest.fixture
def bindings() -> TensorRtBindings:
    cuda = Cuda()
    cuda.init()
    return TensorRtBindings(TensorRt(cuda), cuda)


def crops(batch: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"crops": np.random.default_rng(3).normal(size=(batch, 1, 32, 24)).astype(np.float32)}


def test_a_plan_is_built_once_and_the_timings_are_kept(
    classifier: Path, bindings: TensorRtBindings, tmp_path: Path
) -> None:
    cache = CompileCache(tmp_path)
    for _ in range(3):
        TensorRtEngine(classifier, ORDINARY, cache, bindings).close()
    assert bindings.tensorrt.builds == 1
    assert len(list(tmp_path.glob("timings-*.engine"))) == 1


def test_a_plan_of_another_tensorrt_version_is_built_again(
    classifier: Path, bindings: TensorRtBindings, tmp_path: Path
) -> None:
    cache = CompileCache(tmp_path)
    TensorRtEngine(classifier, ORDINARY, cache, bindings).close()
    newer = TensorRtBindings(TensorRt(bindings.cuda, "10.7.0"), bindings.cuda)
    with TensorRtEngine(classifier, ORDINARY, cache, newer) as engine:
        assert not engine.info.from_cache
        assert engine.info.runtime_version == "10.7.0"
    assert newer.tensorrt.builds == 1


def test_progress_is_told_in_steps(classifier: Path, bindings: TensorRtBindings) -> None:
    heard: list[str] = []
    TensorRtEngine(classifier, ORDINARY, None, bindings, heard.append).close()
    assert heard == ["Building engine: 1 of 2", "Building engine: 2 of 2"]


def test_a_batch_beyond_the_profile_is_refused_with_its_limit(
    classifier: Path, bindings: TensorRtBindings
) -> None:
    with TensorRtEngine(classifier, ORDINARY, None, bindings) as engine:
        with pytest.raises(EngineInputError, match=r"expected a batch of at most 8 .*, got 9"):
            engine.infer(crops(9))
        assert engine.infer(crops(8))["class_logits"].shape == (8, 24)


def test_the_quantized_file_says_int8(classifier: Path, bindings: TensorRtBindings, tmp_path: Path) -> None:
    quantized = onnx_models.quantize(classifier, tmp_path / "int8.onnx", [crops(4)])
    with TensorRtEngine(quantized, ORDINARY, None, bindings) as engine:
        assert engine.info.precision == "INT8"


def test_close_gives_all_memory_and_the_context_back(classifier: Path, bindings: TensorRtBindings) -> None:
    engine = TensorRtEngine(classifier, EngineOptions(concurrency=3), None, bindings)
    engine.infer(crops(2))
    assert bindings.cuda.allocated_bytes > 0
    assert bindings.cuda.retained == 1
    engine.close()
    assert bindings.cuda.allocated_bytes == 0
    assert bindings.cuda.retained == 0
    assert bindings.cuda.stack() == []


def test_a_failed_load_gives_the_context_back(bindings: TensorRtBindings, tmp_path: Path) -> None:
    path = _model_with(tmp_path, "StringNormalizer")
    with pytest.raises(EngineLoadError, match="No importer registered for op: StringNormalizer"):
        TensorRtEngine(path, ORDINARY, None, bindings)
    gc.collect()
    assert bindings.cuda.retained == 0
    assert bindings.cuda.stack() == []


def test_a_build_that_fails_tells_the_loggers_reason(classifier: Path, bindings: TensorRtBindings) -> None:
    del bindings.tensorrt.NetworkDefinitionCreationFlag  # then the network is not strongly typed
    bindings.tensorrt.NetworkDefinitionCreationFlag = object()
    with pytest.raises(EngineLoadError, match="the double builds strongly typed networks only"):
        TensorRtEngine(classifier, ORDINARY, None, bindings)


def test_inputs_dynamic_elsewhere_than_in_the_batch_are_refused(
    bindings: TensorRtBindings, tmp_path: Path
) -> None:
    path = _model_with(tmp_path, "Relu", shape=["N", "M"])
    with pytest.raises(EngineLoadError, match="expected only the batch of 'x' to be dynamic"):
        TensorRtEngine(path, ORDINARY, None, bindings)


def test_float_on_int8_weights_is_not_offered(classifier: Path, bindings: TensorRtBindings) -> None:
    with pytest.raises(EngineLoadError, match="expected 'best' or 'as_is', got 'float'"):
        TensorRtEngine(classifier, EngineOptions(quantized_graph=QuantizedGraph.FLOAT), None, bindings)


def test_an_enqueue_that_fails_is_a_run_error_and_the_lane_goes_on(
    classifier: Path, bindings: TensorRtBindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.simulators.tensorrt_double import ExecutionContext

    with TensorRtEngine(classifier, ORDINARY, None, bindings) as engine:
        with monkeypatch.context() as patched:
            patched.setattr(ExecutionContext, "execute_async_v3", lambda *_: False)
            with pytest.raises(EngineRunError, match="could not enqueue"):
                engine.infer(crops(1))
        assert engine.infer(crops(1))["class_logits"].shape == (1, 24)
    assert bindings.cuda.allocated_bytes == 0


def test_without_a_gpu_the_runtime_is_never_imported() -> None:
    absence = first_cuda_device().absence
    if absence is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(RuntimeUnavailable, match="expected an NVIDIA GPU, got none"):
        load_bindings()
    assert "tensorrt" not in sys.modules
    assert "pycuda.driver" not in sys.modules


def _model_with(directory: Path, operator: str, shape: list[Any] | None = None) -> Path:
    import onnx
    from onnx import TensorProto, helper

    kind = TensorProto.STRING if operator == "StringNormalizer" else TensorProto.FLOAT
    shape = shape or [4]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])], "one",
        [helper.make_tensor_value_info("x", kind, shape)], [helper.make_tensor_value_info("y", kind, shape)],
    )  # fmt: skip
    path = directory / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
