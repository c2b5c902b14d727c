"""The adapters under test, each behind one way to open a model, and the models that they all must run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from engines.cache import CompileCache
from engines.contract import Engine
from engines.errors import RuntimeUnavailable
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.openvino_engine import OpenVinoEngine
from engines.options import EngineOptions
from engines.tensorrt_bindings import TensorRtBindings, load_bindings
from engines.tensorrt_engine import TensorRtEngine
from tests.simulators import onnx_models
from tests.simulators.cuda_double import Cuda


class Opener(Protocol):
    def __call__(
        self, model: Path, options: EngineOptions | None = None, cache: CompileCache | None = None
    ) -> Engine: ...


@dataclass(frozen=True)
class Models:
    classifier: Path
    quantized_classifier: Path
    segmenter: Path
    quantized_segmenter: Path
    arithmetic: Path
    film_reader: Path
    quantized_film_reader: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    directory = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(7)
    classifier = onnx_models.save_classifier(directory / "classifier.onnx")
    crops = [{"crops": rng.normal(size=(8, 1, 32, 24)).astype(np.float32)} for _ in range(4)]
    segmenter = onnx_models.save_segmenter(directory / "segmenter.onnx")
    fields = [{"image": rng.normal(size=(1, 1, 64, 64)).astype(np.float32)} for _ in range(8)]
    film_reader = onnx_models.save_film_reader(directory / "films.onnx")
    films = [{"images": rng.random((1, *onnx_models.FILM_SHAPE), np.float32)} for _ in range(8)]
    return Models(
        classifier,
        onnx_models.quantize(classifier, directory / "classifier.int8.onnx", crops),
        segmenter,
        onnx_models.quantize(segmenter, directory / "segmenter.int8.onnx", fields),
        onnx_models.save_arithmetic(directory / "arithmetic.onnx"),
        film_reader,
        onnx_models.quantize(film_reader, directory / "films.int8.onnx", films),
    )


def _openvino(model: Path, options: EngineOptions | None = None, cache: CompileCache | None = None) -> Engine:
    return OpenVinoEngine(model, options, cache)


def _onnxruntime(
    model: Path, options: EngineOptions | None = None, cache: CompileCache | None = None
) -> Engine:
    return OnnxRuntimeEngine(model, options, cache)


def _tensorrt_on(bindings: TensorRtBindings) -> Opener:
    def open_one(
        model: Path, options: EngineOptions | None = None, cache: CompileCache | None = None
    ) -> Engine:
        return TensorRtEngine(model, options, cache, bindings)

    return open_one


def double_bindings(version: str = "10.3.0") -> TensorRtBindings:
    pytest.importorskip("onnx", reason="the double of TensorRT reads models with the onnx package")
    from tests.simulators.tensorrt_double import TensorRt

    cuda = Cuda()
    cuda.init()
    return TensorRtBindings(TensorRt(cuda, version), cuda)


@pytest.fixture(params=["openvino", "onnxruntime", "tensorrt-10-double", "tensorrt-11-double", "tensorrt"])
def adapter(request: pytest.FixtureRequest) -> Opener:
    """Each runtime's way to open a model; a runtime that is absent skips with its reason."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
        return _openvino
    if request.param == "onnxruntime":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        return _onnxruntime
    if request.param.endswith("-double"):
        return _tensorrt_on(double_bindings("11.4.0" if "-11-" in request.param else "10.3.0"))
    try:
        return _tensorrt_on(load_bindings())
    except RuntimeUnavailable as exc:
        pytest.skip(f"TensorRT on hardware: {exc}")


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    return CompileCache(tmp_path / "cache")
