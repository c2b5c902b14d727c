"""Every runtime call of ours, as the double wrote it down, against the signatures of NVIDIA's own bindings.

The lean bindings install without a GPU (`pip install --no-deps tensorrt-lean-cu13-bindings
tensorrt-lean-cu13-libs`, or cu12 for TensorRT 10). They hold the runtime's classes but no Builder and no
OnnxParser; those rest on the double alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

lean = pytest.importorskip(
    "tensorrt_lean_bindings",
    reason="the real signatures are in the package tensorrt-lean-cu13-bindings, which is not installed",
)
pytest.importorskip("onnx", reason="the double of TensorRT reads models with the onnx package")

from engines.cache import CompileCache  # noqa: E402
from engines.options import EngineOptions  # noqa: E402
from engines.tensorrt_bindings import TensorRtBindings, message_logger  # noqa: E402
from engines.tensorrt_build import _progress_monitor  # noqa: E402
from engines.tensorrt_engine import TensorRtEngine  # noqa: E402
from tests.simulators import onnx_models  # noqa: E402
from tests.simulators.cuda_double import Cuda  # noqa: E402
from tests.simulators.tensorrt_double import TensorRt  # noqa: E402
from tests.simulators.tensorrt_double_types import Call  # noqa: E402

ABSENT_FROM_LEAN = {"Builder", "OnnxParser"}
USED_OF_THE_RUNTIME = {
    "Runtime.deserialize_cuda_engine",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.get_tensor_dtype",
    "ICudaEngine.get_tensor_mode",
    "ICudaEngine.get_tensor_name",
    "ICudaEngine.get_tensor_shape",
    "IExecutionContext.execute_async_v3",
    "IExecutionContext.get_tensor_shape",
    "IExecutionContext.infer_shapes",
    "IExecutionContext.set_input_shape",
    "IExecutionContext.set_tensor_address",
    "IOptimizationProfile.set_shape",
}


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: str
    optional: bool

    def takes(self, value: Any) -> bool:
        kind = self.annotation.rsplit(".", 1)[-1].split("[")[0]
        checks = {
            "SupportsInt": hasattr(value, "__int__"),
            "int": isinstance(value, int),
            "str": isinstance(value, str),
            "bool": isinstance(value, bool),
            "tuple": isinstance(value, tuple),
            "list": isinstance(value, list),
            "Dims": isinstance(value, (tuple, list)),  # pybind11 converts sequences to Dims
            "Buffer": isinstance(value, (bytes, bytearray, memoryview)),
            "buffer": isinstance(value, (bytes, bytearray, memoryview)),
            "IStreamReader": False,
            "IStreamReaderV2": False,
        }
        assert kind in checks, f"no rule yet for a parameter of type {self.annotation}"
        return checks[kind]


def signatures(owner: str, member: str) -> list[list[Parameter]]:
    """The overloads that pybind11 wrote into the docstring, without `self`."""
    text = getattr(getattr(lean, owner), member).__doc__ or ""
    found = re.findall(rf"^(?:\d+\. )?{member}\((.*)\) -> ", text, re.MULTILINE)
    return [[_parameter(part) for part in _split(inner)[1:]] for inner in found]


def _split(inner: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in inner:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()] if current.strip() else parts


def _parameter(text: str) -> Parameter:
    declared, _, default = text.partition(" = ")
    name, _, annotation = declared.partition(":")
    return Parameter(name.strip(), annotation.strip(), bool(default))


def accepts(overload: list[Parameter], call: Call) -> bool:
    if len(call.args) > len(overload):
        return False
    given = dict(zip((parameter.name for parameter in overload), call.args, strict=False))
    if set(given) & set(call.kwargs):
        return False
    given |= call.kwargs
    known = {parameter.name: parameter for parameter in overload}
    if not set(given) <= set(known):
        return False
    missing = [p.name for p in overload if not p.optional and p.name not in given]
    return not missing and all(known[name].takes(value) for name, value in given.items())


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """All calls of a life: build, load from the cache, infer with two batches, close."""
    directory = tmp_path_factory.mktemp("life")
    cuda = Cuda()
    cuda.init()
    trt = TensorRt(cuda)
    model = onnx_models.save_classifier(directory / "model.onnx")
    cache = CompileCache(directory / "cache")
    for _ in range(2):
        with TensorRtEngine(model, EngineOptions(), cache, TensorRtBindings(trt, cuda)) as engine:
            for batch in (1, 46):
                engine.infer({"crops": np.zeros((batch, 1, 32, 24), np.float32)})
    return trt.calls


def test_the_adapter_uses_of_the_runtime_what_is_listed_here(calls: list[Call]) -> None:
    used = {f"{call.owner}.{call.member}" for call in calls if call.owner not in ABSENT_FROM_LEAN}
    assert used == USED_OF_THE_RUNTIME


def test_every_call_fits_a_real_overload(calls: list[Call]) -> None:
    checked = 0
    for call in calls:
        if call.owner in ABSENT_FROM_LEAN:
            continue
        overloads = signatures(call.owner, call.member)
        assert overloads, f"{call.owner}.{call.member} has no signature in TensorRT {lean.__version__}"
        assert any(accepts(overload, call) for overload in overloads), (
            f"{call} fits none of {overloads} of TensorRT {lean.__version__}"
        )
        checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    "call",
    [
        Call("IExecutionContext", "execute_async_v3", ()),
        Call("IExecutionContext", "execute_async_v3", ("stream",)),
        Call("IExecutionContext", "set_tensor_address", ("x", 1, 2)),
        Call("IExecutionContext", "set_tensor_address", (1, "x")),
        Call("IExecutionContext", "set_tensor_address", ("x",), {"address": 1}),
        Call("Runtime", "deserialize_cuda_engine", ("path.plan",)),
    ],
    ids=lambda call: f"{call.member}{call.args}",
)
def test_wrong_calls_fit_no_overload(call: Call) -> None:
    assert not any(accepts(overload, call) for overload in signatures(call.owner, call.member))


def test_properties_constants_and_module_functions_are_real() -> None:
    assert isinstance(lean.ICudaEngine.num_io_tensors, property)
    assert lean.TensorIOMode.INPUT != lean.TensorIOMode.OUTPUT
    assert lean.nptype(lean.DataType.FLOAT) is np.float32
    with pytest.raises(TypeError):
        lean.nptype(lean.DataType.BF16)
    assert lean.MemoryPoolType.WORKSPACE is not None
    assert isinstance(lean.__version__, str)


def test_our_logger_and_monitor_subclass_the_real_bases() -> None:
    logger = message_logger(lean)
    assert isinstance(logger, lean.ILogger)
    assert logger.last_errors() == "it gave no reason"
    logger.log(lean.ILogger.Severity.ERROR, "out of memory")
    logger.log(lean.ILogger.Severity.WARNING, "slow")
    assert logger.last_errors() == "out of memory"
    heard: list[str] = []
    monitor = _progress_monitor(lean, heard.append)
    assert isinstance(monitor, lean.IProgressMonitor)
    monitor.phase_start("Building", None, 2)
    assert monitor.step_complete("Building", 0) is True
    monitor.phase_finish("Building")
    assert heard == ["Building: 1 of 2"]


def test_the_doubles_parameter_names_are_the_real_ones() -> None:
    """So that a keyword that the double takes is one that the real class takes."""
    import inspect

    from tests.simulators import tensorrt_double, tensorrt_double_build

    doubles = {
        "Runtime": tensorrt_double.Runtime,
        "ICudaEngine": tensorrt_double.CudaEngine,
        "IExecutionContext": tensorrt_double.ExecutionContext,
        "IOptimizationProfile": tensorrt_double_build.OptimizationProfile,
    }
    for name in sorted(USED_OF_THE_RUNTIME):
        owner, member = name.split(".")
        ours = list(inspect.signature(getattr(doubles[owner], member)).parameters)[1:]
        assert any(
            [p.name for p in overload][: len(ours)] == ours and all(p.optional for p in overload[len(ours) :])
            for overload in signatures(owner, member)
        ), f"{name}({', '.join(ours)})"
