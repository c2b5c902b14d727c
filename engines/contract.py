"""The one contract that every runtime adapter keeps: what an engine takes, gives and promises to threads."""

from __future__ import annotations

import enum
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineClosedError, EngineError, EngineInputError, EngineLoadError, EngineRunError
from engines.pixels import PixelInput
from engines.tensor_spec import TensorSpec

Tensors = Mapping[str, NDArray[Any]]


class EngineKind(enum.Enum):
    """The runtimes that there are adapters for."""

    TENSORRT = "tensorrt"  # NVIDIA GPUs: Jetson and cards
    OPENVINO = "openvino"  # x86 and ARM CPUs, INT8 on VNNI
    ONNXRUNTIME = "onnxruntime"  # any CPU; the fallback and the parity reference


@dataclass(frozen=True)
class EngineInfo:
    """Who computes: every result carries this, so it says what was really done, not what was asked for."""

    kind: EngineKind
    device: str
    """The hardware, as a person would name it ("CPU: Intel N100", "GPU 0: Orin")."""
    precision: str
    """The arithmetic really used: "INT8", "INT8 (BF16 elsewhere)", "FP32", "FP32 (int8 weights)"."""
    runtime_version: str
    fingerprint: str
    """Digest of model, runtime, device and options; a compiled form is good for exactly this."""
    from_cache: bool = False
    """Whether the compiled form came out of the compile cache."""
    notes: tuple[str, ...] = ()
    """What the adapter changed in the graph while compiling, one sentence each."""


class Engine(ABC):
    """A compiled model that is ready to compute.

    Threads: `infer` may be called from any number of threads at once; calls beyond the engine's
    concurrency wait their turn inside it. The returned arrays belong to the caller: no later call changes
    them. The caller must not change its input arrays before `infer` returns. `close` waits for the calls
    that are under way and may be called twice; every call after it raises EngineClosedError. A call that
    the runtime never returns from would hold `close` up for ever: a supervisor has to end the process then.
    """

    def __init__(
        self,
        info: EngineInfo,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        pixels: PixelInput | None = None,
    ) -> None:
        self._info = info
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._pixels = pixels
        try:
            self._pixel_inputs = (pixels.spec(self._inputs),) if pixels is not None else ()
        except ValueError as exc:
            raise EngineLoadError(f"a network that does not take pixels: {exc}") from exc
        self._idle = threading.Condition()
        self._under_way = 0
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Who computes."""
        return self._info

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, in its own order."""
        return self._inputs

    @property
    def pixel_inputs(self) -> tuple[TensorSpec, ...]:
        """The same inputs as pixels, which `infer` takes as well; empty without `EngineOptions.pixels`."""
        return self._pixel_inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, in its own order."""
        return self._outputs

    def infer(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Compute all outputs, by name, from all inputs, by name.

        Numbers pass as they are: a NaN in an input is the model's to answer, not an error here.

        Raises:
            EngineInputError: a name is missing or unknown, or a tensor has another datatype or shape.
            EngineRunError: the runtime failed, or its outputs do not fit `outputs`.
            EngineClosedError: after `close`.
        """
        with self._call():
            as_pixels = self._are_pixels(tensors)
            arrays = self._checked_inputs(tensors, self._pixel_inputs if as_pixels else self._inputs)
            try:
                outputs = self._infer_pixels(arrays) if as_pixels else self._infer(arrays)
            except EngineError:
                raise
            except Exception as exc:  # runtimes raise classes of their own, with no common base
                raise EngineRunError(f"{self._info.kind.value} failed to run: {exc}") from exc
            return self._checked_outputs(outputs)

    def warm_up(self, dynamic_size: int = 1) -> None:
        """Run once on zeros, so that the first real call pays for no lazy allocation or code generation.

        Args:
            dynamic_size: size of every dynamic dimension (the batch that real calls will have).
        """
        for form in filter(None, (self._inputs, self._pixel_inputs)):
            self.infer({spec.name: spec.filled(dynamic_size) for spec in form})

    def close(self) -> None:
        """Wait for calls under way, then free what the runtime holds. A second call does nothing."""
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._under_way == 0)
        self._close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute; `tensors` are checked, complete, C-contiguous and aligned. Outputs are fresh arrays."""

    def _infer_pixels(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute from pixels, checked as for `_infer`; an adapter whose graph takes them overrides this."""
        if self._pixels is None:
            raise EngineInputError("expected an engine that was opened for pixels")
        return self._infer({name: self._pixels.to_network(array) for name, array in tensors.items()})

    @abstractmethod
    def _close(self) -> None:
        """Free what the runtime holds; called once, with no call under way."""

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise EngineClosedError(f"expected an open engine, got one that is closed: {self._info.kind}")
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _are_pixels(self, tensors: Tensors) -> bool:
        return any(
            getattr(tensors.get(spec.name), "dtype", None) == spec.dtype for spec in self._pixel_inputs
        )

    def _checked_inputs(self, tensors: Tensors, specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
        wanted = [spec.name for spec in specs]
        if set(tensors) != set(wanted):
            raise EngineInputError(f"expected inputs {wanted}, got {sorted(tensors)}")
        for spec in specs:
            if wrong := spec.mismatch(tensors[spec.name]):
                raise EngineInputError(f"input {wrong}")
        # a view into a message may begin anywhere; runtimes are written in languages where that must not be
        return {name: np.require(tensors[name], requirements=("C", "A")) for name in wanted}

    def _checked_outputs(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for spec in self._outputs:
            if spec.name not in outputs:
                raise EngineRunError(f"expected output {spec.name!r}, got {sorted(outputs)}")
            if wrong := spec.mismatch(outputs[spec.name]):
                raise EngineRunError(f"output {wrong}")
        return outputs
