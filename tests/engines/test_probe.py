from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.contract import Engine, EngineKind
from engines.cuda import CudaDevice, first_cuda_device
from engines.errors import EngineLoadError, RuntimeUnavailable
from engines.host import Processor
from engines.opening import Loader, open_engine
from engines.options import EngineOptions
from engines.probe import DeviceProbe, probe_devices

pytest.importorskip("onnx", reason="the models of this test are made with onnx")
from tests.simulators import onnx_models
from tests.simulators.told_engine import ToldEngine

VNNI = Processor("Example CPU", "x86_64", frozenset({"avx512_vnni"}))
ORIN = CudaDevice("Orin", (8, 7), None)
NO_GPU = CudaDevice(None, None, "the NVIDIA driver library libcuda.so.1 is not installed")


def probe(installed: set[str], gpu: CudaDevice = NO_GPU, processor: Processor = VNNI) -> DeviceProbe:
    return probe_devices(installed.__contains__, lambda: gpu, processor)


EVERYTHING = {"tensorrt", "pycuda", "openvino", "onnxruntime"}


def test_the_gpu_comes_first_then_openvino_then_onnxruntime() -> None:
    assert [found.kind for found in probe(EVERYTHING, ORIN).usable] == [
        EngineKind.TENSORRT,
        EngineKind.OPENVINO,
        EngineKind.ONNXRUNTIME,
    ]


def test_each_runtime_that_is_not_taken_has_its_sentence() -> None:
    found = probe({"openvino"})
    (taken,) = found.usable
    reasons = {declined.kind: declined.reason for declined in found.declined(taken)}
    assert reasons == {
        EngineKind.TENSORRT: (
            "TensorRT needs an NVIDIA GPU, and the NVIDIA driver library libcuda.so.1 is not installed"
        ),
        EngineKind.ONNXRUNTIME: "ONNX Runtime could use this CPU, but onnxruntime is not installed",
    }


def test_a_gpu_without_packages_says_which() -> None:
    tensorrt = probe({"openvino"}, ORIN).candidates[0]
    assert tensorrt.unavailable == "TensorRT could use Orin, but tensorrt and pycuda are not installed"


def test_a_usable_but_lesser_runtime_says_what_was_preferred() -> None:
    found = probe({"openvino", "onnxruntime"})
    (_, declined) = found.declined(found.usable[0])
    assert declined.reason == (
        "onnxruntime on CPU (Example CPU) would work, but openvino on CPU (Example CPU) was preferred"
    )


def test_openvino_without_vnni_promises_no_int8() -> None:
    old = Processor("Old CPU", "x86_64", frozenset({"avx2"}))
    assert probe({"openvino"}, processor=old).usable[0].precision == "FP32 (int8 weights)"


def test_the_order_can_be_turned_and_cut() -> None:
    found = probe_devices(EVERYTHING.__contains__, lambda: NO_GPU, VNNI, [EngineKind.ONNXRUNTIME])
    assert [candidate.kind for candidate in found.candidates] == [EngineKind.ONNXRUNTIME]


class Driver:
    """libcuda as far as it is asked, for a machine with `count` GPUs; `failing` is a call that fails."""

    def __init__(self, count: int = 1, failing: str = "") -> None:
        self.count, self.failing = count, failing

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*args: Any) -> int:
            if name == self.failing:
                return 100
            if name == "cuDeviceGetCount":
                args[0]._obj.value = self.count
            elif name == "cuDeviceGetName":
                args[0].value = b"Orin"
            elif name == "cuDeviceGetAttribute":
                args[0]._obj.value = {75: 8, 76: 7}[args[1]]
            return 0

        return call


def test_the_driver_names_its_gpu() -> None:
    assert first_cuda_device(lambda _: Driver()) == ORIN


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(failing="cuInit"), "the NVIDIA driver did not start (cuInit gave 100)"),
        (Driver(count=0), "found no GPU"),
        (Driver(failing="cuDeviceGetCount"), "found no GPU"),
        (Driver(failing="cuDeviceGet"), "would not open GPU 0"),
        (Driver(failing="cuDeviceGetAttribute"), "does not know GPU 0"),
    ],
    ids=["init", "none", "count", "get", "attribute"],
)
def test_a_driver_without_a_usable_gpu_says_why(driver: Driver, reason: str) -> None:
    found = first_cuda_device(lambda _: driver)
    assert found.name is None
    assert reason in str(found.absence)


def test_a_machine_without_the_driver_library_says_so() -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    assert first_cuda_device(missing) == NO_GPU


# Opening


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_models.save_arithmetic(tmp_path / "model.onnx")


def loading() -> Engine:
    return ToldEngine(lambda _: {})


def loaders(**failures: Exception | None) -> dict[EngineKind, Loader]:
    def loader(failure: Exception | None) -> Loader:
        def load(*_: Any) -> Engine:
            if failure is not None:
                raise failure
            return loading()

        return load

    return {EngineKind(name): loader(failure) for name, failure in failures.items()}


def test_the_best_runtime_is_opened_and_the_others_are_explained(model: Path) -> None:
    opened = open_engine(model, probe=probe({"openvino", "onnxruntime"}), loaders=loaders(openvino=None))
    opened.engine.close()
    assert [declined.kind for declined in opened.declined] == [EngineKind.TENSORRT, EngineKind.ONNXRUNTIME]


def test_a_runtime_that_fails_to_load_is_passed_over_with_its_reason(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        opened = open_engine(
            model,
            probe=probe(EVERYTHING, ORIN),
            loaders=loaders(
                tensorrt=RuntimeUnavailable("pycuda broken"), openvino=EngineLoadError("no kernel"),
                onnxruntime=None,
            ),
        )  # fmt: skip
    opened.engine.close()
    reasons = {declined.kind: declined.reason for declined in opened.declined}
    assert "was tried first and failed: pycuda broken" in reasons[EngineKind.TENSORRT]
    assert "was tried first and failed: no kernel" in reasons[EngineKind.OPENVINO]
    assert len(caplog.records) == 2


def test_if_all_fail_every_reason_is_told(model: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"no runtime could load model\.onnx.*NVIDIA.*first.*second"):
        open_engine(
            model,
            probe=probe({"openvino", "onnxruntime"}),
            loaders=loaders(openvino=EngineLoadError("first"), onnxruntime=EngineLoadError("second")),
        )


def test_without_any_runtime_the_machine_is_blamed_not_the_model(model: Path) -> None:
    with pytest.raises(
        RuntimeUnavailable, match=r"openvino is not installed; .*onnxruntime is not installed"
    ):
        open_engine(model, probe=probe(set()))


def test_a_damaged_file_is_not_tried_on_every_runtime(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:50])
    with pytest.raises(EngineLoadError, match="truncated"):
        open_engine(model, probe=probe(EVERYTHING), loaders={})


def test_a_mistake_in_an_adapter_is_not_hidden_by_the_fallback(model: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        open_engine(model, probe=probe({"openvino"}), loaders=loaders(openvino=ZeroDivisionError("a bug")))


def test_this_machine_opens_what_it_has(model: Path) -> None:
    found = probe_devices()
    if not found.usable:
        pytest.skip("no runtime is installed: " + "; ".join(str(c.unavailable) for c in found.candidates))
    opened = open_engine(model, EngineOptions(threads=1), probe=found)
    with opened.engine as engine:
        engine.warm_up()
        assert engine.info.kind is found.usable[0].kind
    assert len(opened.declined) == 2
    assert all(declined.reason for declined in opened.declined)
