"""TensorRT adapter (10.3 on JetPack 6 to 11): builds or loads a plan and computes through pinned buffers."""

from __future__ import annotations

import hashlib
import logging
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cache import CompileCache
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import EngineInputError, EngineLoadError, EngineRunError
from engines.fingerprint import FingerprintParts, file_sha256
from engines.onnx_operators import is_quantized, operator_counts
from engines.options import EngineOptions, QuantizedGraph
from engines.tensor_spec import DYNAMIC, TensorSpec
from engines.tensorrt_bindings import TensorRtBindings, load_bindings, message_logger
from engines.tensorrt_build import Progress, build_plan

_ADAPTER_REVISION = 1
_log = logging.getLogger(__name__)


class TensorRtEngine(Engine):
    """A model as a TensorRT plan on GPU 0.

    CUDA contexts belong to threads, so each call pushes the device's primary context and pops it again.
    One lane (execution context, stream, buffers for the largest batch) serves one call at a time; there
    are `options.concurrency` lanes.
    """

    def __init__(
        self,
        model_path: Path,
        options: EngineOptions | None = None,
        cache: CompileCache | None = None,
        bindings: TensorRtBindings | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Load from the cache, or build and store.

        Raises:
            RuntimeUnavailable: no GPU, or tensorrt or pycuda is not installed.
            EngineLoadError: the file cannot be read, built or loaded.
        """
        options = options or EngineOptions()
        if options.quantized_graph is QuantizedGraph.FLOAT:
            raise EngineLoadError(
                "TensorRT runs a graph's own precision: expected 'best' or 'as_is', got 'float'"
            )
        bindings = bindings or load_bindings()
        self._trt, self._cuda = bindings.tensorrt, bindings.cuda
        quantized = is_quantized(operator_counts(model_path))
        device = self._cuda.Device(0)
        self._context: Any = device.retain_primary_context()
        try:
            with self._current():
                info = self._load(model_path, options, cache, quantized, device, on_progress)
                inputs, outputs = self._edge_specs(model_path)
                self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
                for _ in range(options.concurrency):
                    self._lanes.put(_Lane(bindings, self._engine, inputs, outputs, options.max_batch))
        except BaseException:
            self._context.detach()
            raise
        super().__init__(info, inputs, outputs, options.pixels)
        self._max_batch = options.max_batch

    def _load(
        self,
        model_path: Path,
        options: EngineOptions,
        cache: CompileCache | None,
        quantized: bool,
        device: Any,
        on_progress: Progress | None,
    ) -> EngineInfo:
        version = str(self._trt.__version__)
        major, minor = device.compute_capability()
        identity = f"{device.name()}/sm_{major}{minor}"
        options = replace(options, pixels=None)  # they are made into planes outside of the plan
        fingerprint = FingerprintParts(
            file_sha256(model_path),
            EngineKind.TENSORRT,
            version,
            identity,
            _ADAPTER_REVISION,
            options,
            0,
        ).digest()
        logger = message_logger(self._trt)
        self._logger = logger  # TensorRT keeps only a plain pointer to it
        self._runtime: Any = self._trt.Runtime(logger)
        engine, from_cache = None, False
        if cache is not None and (entry := cache.get(fingerprint)) is not None:
            engine = self._runtime.deserialize_cuda_engine(entry.payload)
            from_cache = engine is not None
            if engine is None:
                _log.warning(
                    "TensorRT would not load a cached plan; building again: %s", logger.last_errors()
                )
                cache.discard(fingerprint)
        if engine is None:
            timing_key = "timings-" + hashlib.sha256(f"{version}/{identity}".encode()).hexdigest()
            plan = build_plan(self._trt, logger, model_path, options, cache, timing_key, on_progress)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise EngineLoadError(f"TensorRT could not load its own plan: {logger.last_errors()}")
            if cache is not None:
                cache.put(fingerprint, plan, {})
        self._engine: Any = engine
        return EngineInfo(
            kind=EngineKind.TENSORRT,
            device=f"GPU 0: {device.name()}",
            precision="INT8" if quantized else "FP32",
            runtime_version=version,
            fingerprint=fingerprint,
            from_cache=from_cache,
        )

    def _edge_specs(self, model_path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            try:
                dtype = self._trt.nptype(self._engine.get_tensor_dtype(name))
                spec = TensorSpec.of(name, dtype, tuple(self._engine.get_tensor_shape(name)))
            except (TypeError, ValueError) as exc:
                raise EngineLoadError(
                    f"{model_path.name}: expected plain tensors at its edges: {exc}"
                ) from exc
            is_input = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            (inputs if is_input else outputs).append(spec)
        return inputs, outputs

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for spec in self.inputs:
            if spec.is_dynamic and tensors[spec.name].shape[0] > self._max_batch:
                raise EngineInputError(
                    f"input {spec.name!r}: expected a batch of at most {self._max_batch} "
                    f"(the plan's profile), got {tensors[spec.name].shape[0]}"
                )
        lane = self._lanes.get()
        try:
            with self._current():
                return lane.run(tensors)
        finally:
            self._lanes.put(lane)

    def _close(self) -> None:
        with self._current():
            while not self._lanes.empty():
                self._lanes.get().free()
            # The order matters: contexts before their engine, the engine before its runtime.
            self._engine = None
            self._runtime = None
        self._context.detach()

    @contextmanager
    def _current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()


class _Lane:
    """What one call at a time needs: an execution context, a stream, pinned host and device buffers."""

    def __init__(
        self,
        bindings: TensorRtBindings,
        engine: Any,
        inputs: list[TensorSpec],
        outputs: list[TensorSpec],
        max_batch: int,
    ) -> None:
        self._cuda = bindings.cuda
        self._inputs, self._outputs = inputs, outputs
        self._execution: Any = engine.create_execution_context()
        if self._execution is None:
            raise EngineLoadError("expected an execution context, got None: the GPU's memory is too small")
        self._stream: Any = self._cuda.Stream()
        for spec in inputs:
            self._set_shape(spec, _at_batch(spec.shape, max_batch))
        self._require_known_shapes(EngineLoadError)
        self._host: dict[str, NDArray[Any]] = {}
        self._device: dict[str, Any] = {}
        for spec in (*inputs, *outputs):
            shape = tuple(self._execution.get_tensor_shape(spec.name))
            if DYNAMIC in shape:
                raise EngineLoadError(
                    f"output {spec.name!r}: expected a size known from the inputs, got {shape}"
                )
            self._host[spec.name] = self._cuda.pagelocked_empty(int(np.prod(shape)), spec.dtype)
            self._device[spec.name] = self._cuda.mem_alloc(self._host[spec.name].nbytes)
            if not self._execution.set_tensor_address(spec.name, int(self._device[spec.name])):
                raise EngineLoadError(f"TensorRT refused the buffer of {spec.name!r}")

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Copy in, compute, copy out, wait; the results are copies that belong to the caller."""
        for spec in self._inputs:
            array = tensors[spec.name]
            self._set_shape(spec, array.shape)
            pinned = self._host[spec.name][: array.size]
            pinned[:] = array.reshape(-1)
            self._cuda.memcpy_htod_async(self._device[spec.name], pinned, self._stream)
        self._require_known_shapes(EngineRunError)
        if not self._execution.execute_async_v3(self._stream.handle):
            self._stream.synchronize()
            raise EngineRunError("TensorRT could not enqueue the call; its log line says why")
        shapes = {spec.name: tuple(self._execution.get_tensor_shape(spec.name)) for spec in self._outputs}
        pinned_outputs = {name: self._host[name][: int(np.prod(shape))] for name, shape in shapes.items()}
        for name, pinned in pinned_outputs.items():
            self._cuda.memcpy_dtoh_async(pinned, self._device[name], self._stream)
        self._stream.synchronize()
        return {name: pinned.reshape(shapes[name]).copy() for name, pinned in pinned_outputs.items()}

    def free(self) -> None:
        """Give the GPU's memory back; the device's context must be current."""
        self._execution = None
        for allocation in self._device.values():
            allocation.free()
        self._device.clear()
        self._host.clear()
        self._stream = None

    def _set_shape(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        if not self._execution.set_input_shape(spec.name, shape):
            raise EngineRunError(f"TensorRT refused shape {list(shape)} for input {spec.name!r}")

    def _require_known_shapes(self, error: type[EngineLoadError] | type[EngineRunError]) -> None:
        if missing := self._execution.infer_shapes():
            raise error(f"expected every shape to follow from the inputs, got none for {list(missing)}")


def _at_batch(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    return tuple(batch if size == DYNAMIC else size for size in shape)
