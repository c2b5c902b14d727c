"""Finds out which runtimes could run here, ranks them, and says in a sentence why others are not taken."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.contract import EngineKind
from engines.cuda import CudaDevice, first_cuda_device
from engines.host import Processor, this_processor


@dataclass(frozen=True)
class Candidate:
    """One runtime on one device, with the arithmetic that an INT8 pack would get there."""

    kind: EngineKind
    device: str
    precision: str
    unavailable: str | None
    """Why it cannot run here; None if nothing speaks against it."""

    def __str__(self) -> str:
        return f"{self.kind.value} on {self.device}"


@dataclass(frozen=True)
class Declined:
    """A runtime that was not taken, and the reason for a person."""

    kind: EngineKind
    reason: str


@dataclass(frozen=True)
class DeviceProbe:
    """All candidates, the best first."""

    candidates: tuple[Candidate, ...]

    @property
    def usable(self) -> tuple[Candidate, ...]:
        """Those that nothing speaks against, the best first."""
        return tuple(candidate for candidate in self.candidates if candidate.unavailable is None)

    def declined(self, taken: Candidate) -> tuple[Declined, ...]:
        """Every candidate but `taken`, with its reason."""
        return tuple(
            Declined(
                candidate.kind,
                candidate.unavailable or f"{candidate} would work, but {taken} was preferred",
            )
            for candidate in self.candidates
            if candidate != taken
        )


def probe_devices(
    is_installed: Callable[[str], bool] | None = None,
    cuda: Callable[[], CudaDevice] = first_cuda_device,
    processor: Processor | None = None,
    order: Sequence[EngineKind] = (EngineKind.TENSORRT, EngineKind.OPENVINO, EngineKind.ONNXRUNTIME),
) -> DeviceProbe:
    """Look at packages and hardware without importing a runtime; quick, and never raises.

    Args:
        is_installed: whether a package of this import name is there; by default Python is asked.
        cuda: asks for the first GPU.
        processor: by default this machine's.
        order: the ranking; a kind that is left out is not considered at all.
    """
    is_installed = is_installed or _is_installed
    processor = processor or this_processor()
    looks: dict[EngineKind, Callable[[], Candidate]] = {
        EngineKind.TENSORRT: lambda: _tensorrt(is_installed, cuda()),
        EngineKind.OPENVINO: lambda: _openvino(is_installed, processor),
        EngineKind.ONNXRUNTIME: lambda: _onnxruntime(is_installed, processor),
    }
    return DeviceProbe(tuple(looks[kind]() for kind in order))


def _tensorrt(is_installed: Callable[[str], bool], gpu: CudaDevice) -> Candidate:
    missing = [name for name in ("tensorrt", "pycuda") if not is_installed(name)]
    reason = gpu.absence and f"TensorRT needs an NVIDIA GPU, and {gpu.absence}"
    if reason is None and missing:
        reason = f"TensorRT could use {gpu.name}, but {_not_installed(missing)}"
    return Candidate(EngineKind.TENSORRT, f"GPU 0 ({gpu.name or 'none'})", "INT8", reason)


def _openvino(is_installed: Callable[[str], bool], processor: Processor) -> Candidate:
    reason = (
        None
        if is_installed("openvino")
        else f"OpenVINO could use this CPU, but {_not_installed(['openvino'])}"
    )
    precision = "INT8" if processor.multiplies_int8_exactly else "FP32 (int8 weights)"
    return Candidate(EngineKind.OPENVINO, f"CPU ({processor.name})", precision, reason)


def _onnxruntime(is_installed: Callable[[str], bool], processor: Processor) -> Candidate:
    reason = None
    if not is_installed("onnxruntime"):
        reason = f"ONNX Runtime could use this CPU, but {_not_installed(['onnxruntime'])}"
    return Candidate(EngineKind.ONNXRUNTIME, f"CPU ({processor.name})", "FP32 (int8 weights)", reason)


def _not_installed(names: list[str]) -> str:
    verb = "is" if len(names) == 1 else "are"
    return f"{' and '.join(names)} {verb} not installed"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
