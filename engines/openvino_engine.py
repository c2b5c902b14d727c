"""OpenVINO adapter: compiles an ONNX file for this CPU, keeps the compiled blob, and computes on it."""

from __future__ import annotations

import io
import logging
import queue
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cache import CompileCache
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import EngineClosedError, EngineLoadError, RuntimeUnavailable, reason_of
from engines.fingerprint import FingerprintParts, file_sha256
from engines.host import Processor, this_processor, usable_cores
from engines.onnx_operators import operator_counts
from engines.openvino_pixels import fold_pixels
from engines.openvino_rewrite import (
    Rewritten,
    drop_activation_pairs,
    has_quantized_activations,
    shift_activations_to_uint8,
)
from engines.options import EngineOptions, QuantizedGraph
from engines.tensor_spec import DYNAMIC, TensorSpec

_ADAPTER_REVISION = 1
_DEVICE = "CPU"
_KERNELS_KEPT = 64
_FLOAT_NAMES = {"f32": "FP32", "float32": "FP32", "bf16": "BF16", "bfloat16": "BF16", "f16": "FP16"}
_FIRST_USE = threading.Lock()
_log = logging.getLogger(__name__)


class OpenVinoEngine(Engine):
    """A model compiled by OpenVINO's CPU plugin.

    The compiled blob goes through our own cache instead of OpenVINO's CACHE_DIR: that one has to read and
    rewrite the ONNX graph before it can tell a hit, trusts what it finds, and has no bound.
    """

    def __init__(
        self,
        model_path: Path,
        options: EngineOptions | None = None,
        cache: CompileCache | None = None,
        processor: Processor | None = None,
    ) -> None:
        """Load, from the cache where possible.

        Raises:
            RuntimeUnavailable: openvino is not installed, or has no CPU plugin.
            EngineLoadError: the file cannot be read or compiled.
        """
        options = options or EngineOptions()
        processor = processor or this_processor()
        openvino = _import_openvino()
        core = openvino.Core()
        if _DEVICE not in core.available_devices:
            raise RuntimeUnavailable(f"expected OpenVINO's CPU plugin, got {core.available_devices}")
        _bound_kernel_cache(core)
        threads = options.threads or usable_cores()
        loader = _Loader(core, model_path, str(openvino.__version__), processor, threads, cache)
        form = loader.load(replace(options, pixels=None))
        compiled, facts = form.compiled, form.facts
        float_name = _FLOAT_NAMES.get(
            compiled.get_property("INFERENCE_PRECISION_HINT").to_string(), "reduced float"
        )
        info = EngineInfo(
            kind=EngineKind.OPENVINO,
            device=f"CPU: {processor.name} ({threads} threads)",
            precision=_precision(str(facts["arithmetic"]), float_name),
            runtime_version=str(openvino.__version__).split("-", 1)[0],
            fingerprint=form.fingerprint,
            from_cache=form.from_cache,
            notes=tuple(facts["notes"]),
        )
        super().__init__(
            info,
            _specs(compiled.inputs, facts["inputs"], model_path),
            _specs(compiled.outputs, facts["outputs"], model_path),
            options.pixels,
        )
        self._form: _Form | None = form
        self._pixel_form = loader.load(options) if options.pixels is not None else None

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self._run(self._form, [tensors[spec.name] for spec in self.inputs])

    def _infer_pixels(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self._run(self._pixel_form, [tensors[spec.name] for spec in self.pixel_inputs])

    def _run(self, form: _Form | None, arrays: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if form is None:
            raise EngineClosedError("expected an engine with this form of inputs, got one without")
        request = form.requests.get()
        try:
            # By position: a tensor may have lost its ONNX name in the blob, its place it keeps.
            request.infer(dict(enumerate(arrays)), share_inputs=True, share_outputs=True)
            return {
                spec.name: np.array(request.get_output_tensor(index).data)
                for index, spec in enumerate(self.outputs)
            }
        finally:
            form.requests.put(request)

    def _close(self) -> None:
        self._form = self._pixel_form = None


class _Form:
    """The graph compiled for one kind of input, and the requests that calls take turns with."""

    def __init__(
        self, compiled: Any, facts: dict[str, Any], fingerprint: str, from_cache: bool, concurrency: int
    ) -> None:
        self.compiled = compiled
        self.facts = facts
        self.fingerprint = fingerprint
        self.from_cache = from_cache
        self.requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(concurrency):
            self.requests.put(compiled.create_infer_request())


@dataclass(frozen=True)
class _Loader:
    """Compiles a graph, or finds it in the cache."""

    core: Any
    model_path: Path
    version: str
    processor: Processor
    threads: int
    cache: CompileCache | None

    def load(self, options: EngineOptions) -> _Form:
        fingerprint = FingerprintParts(
            file_sha256(self.model_path),
            EngineKind.OPENVINO,
            self.version,
            self.processor.identity,
            _ADAPTER_REVISION,
            options,
            self.threads,
        ).digest()
        configuration = _configuration(options, self.threads)
        compiled, facts = None, {}
        if self.cache is not None and (entry := self.cache.get(fingerprint)) is not None:
            compiled, facts = _import_blob(self.core, entry.payload, configuration), entry.facts
            if compiled is None:
                self.cache.discard(fingerprint)
            del entry
        from_cache = compiled is not None
        if compiled is None:
            compiled, facts = _compile(self.core, self.model_path, options, self.processor, configuration)
            if self.cache is not None:
                _store(self.cache, fingerprint, compiled, facts)
        return _Form(compiled, facts, fingerprint, from_cache, options.concurrency)


def _import_openvino() -> Any:
    """The package, with its tables of datatypes filled.

    It fills them at their first use, inside a C++ static's lock, and may lose the GIL meanwhile; a second
    thread that comes then holds the GIL and waits for that lock: both for ever, and the process with them.
    """
    with _FIRST_USE:
        try:
            import openvino
        except ImportError as exc:
            raise RuntimeUnavailable(f"expected the openvino package, got: {exc}") from exc
        openvino.Type.f32.to_dtype()
        np.asarray(openvino.Tensor(np.zeros(1, dtype=np.float32)).data)
    return openvino


def _bound_kernel_cache(core: Any) -> None:
    """Keep the plugin's cache of generated kernels small: it grows with every new batch size.

    Its default of 5000 entries let the classifier grow from 112 to 464 MB over 69 batch sizes; with 64 it
    stays at 330 MB, and a batch size that was not seen lately costs about 60 ms once.
    """
    try:
        core.set_property(_DEVICE, {"CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT})
    except RuntimeError as exc:  # no public property: another release may not know it
        _log.info("OpenVINO's cache of kernels stays at its default size: %s", exc)


def _configuration(options: EngineOptions, threads: int) -> dict[str, object]:
    configuration: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    if options.concurrency > 1:
        configuration["NUM_STREAMS"] = options.concurrency
    if not options.reduced_float:
        # Left alone, the plugin takes BF16 without a word wherever the CPU has it (AVX512_BF16, AMX).
        configuration["INFERENCE_PRECISION_HINT"] = "f32"
    return configuration


def _compile(
    core: Any,
    model_path: Path,
    options: EngineOptions,
    processor: Processor,
    configuration: dict[str, object],
) -> tuple[Any, dict[str, Any]]:
    operator_counts(model_path)  # says better than the runtime what is wrong with a torn file
    try:
        model = core.read_model(str(model_path))
        arithmetic, notes = _prepare(model, options.quantized_graph, processor)
        facts = {
            "arithmetic": arithmetic,
            "notes": notes,
            "inputs": [node.get_friendly_name() for node in model.get_parameters()],
            "outputs": [_result_name(output) for output in model.outputs],
        }
        if options.pixels is not None:
            model = fold_pixels(model, options.pixels)
        return core.compile_model(model, _DEVICE, configuration), facts
    except RuntimeError as exc:
        raise EngineLoadError(
            f"OpenVINO could not compile {model_path.name}: {reason_of(exc, model_path)}"
        ) from exc


def _prepare(model: Any, wanted: QuantizedGraph, processor: Processor) -> tuple[str, list[str]]:
    if not has_quantized_activations(model):
        return "float", []
    if wanted is QuantizedGraph.AS_IS:
        return "int8", []
    if wanted is QuantizedGraph.FLOAT or not processor.multiplies_int8_exactly:
        why = "asked for" if wanted is QuantizedGraph.FLOAT else "this CPU saturates int8 products"
        done = drop_activation_pairs(model)
        return "float on int8 weights", _notes(done, f"computed in float: {why}")
    done = shift_activations_to_uint8(model)
    return "int8", _notes(done, "moved to uint8 with zero point 128, same scale")


def _notes(done: Rewritten, what: str) -> list[str]:
    notes = [f"{done.pairs} int8 activations {what}"] if done.pairs else []
    if done.left:
        _log.warning("OpenVINO: %d int8 activations have an unknown form and stay as they are", done.left)
        notes.append(f"{done.left} int8 activations of an unknown form left as they are")
    return notes


def _precision(arithmetic: str, float_name: str) -> str:
    if arithmetic == "int8":
        return "INT8" if float_name == "FP32" else f"INT8 ({float_name} elsewhere)"
    return float_name if arithmetic == "float" else f"{float_name} (int8 weights)"


def _import_blob(core: Any, blob: bytes, configuration: dict[str, object]) -> Any | None:
    try:
        return core.import_model(blob, _DEVICE, configuration)
    except RuntimeError as exc:
        _log.warning("OpenVINO would not load a cached engine; compiling again: %s", exc)
        return None


def _store(cache: CompileCache, fingerprint: str, compiled: Any, facts: dict[str, Any]) -> None:
    try:
        blob = compiled.export_model()
    except RuntimeError as exc:
        _log.warning("OpenVINO could not export a compiled engine; it stays uncached: %s", exc)
        return
    payload = blob.getbuffer() if isinstance(blob, io.BytesIO) else blob
    cache.put(fingerprint, payload, facts)


def _result_name(output: Any) -> str:
    """The ONNX name of an output: its Result is called `NAME/sink_port_0`; other names may be aliases."""
    name: str = output.get_node().get_friendly_name().rsplit("/sink_port_", 1)[0]
    names: set[str] = output.get_names()
    return name if name in names or not names else str(output.get_any_name())


def _specs(ports: Any, names: list[str], model_path: Path) -> list[TensorSpec]:
    try:
        return [
            TensorSpec.of(
                name,
                port.get_element_type().to_dtype(),
                tuple(DYNAMIC if size.is_dynamic else size.get_length() for size in port.get_partial_shape()),
            )
            for port, name in zip(ports, names, strict=True)
        ]
    except (ValueError, RuntimeError) as exc:
        raise EngineLoadError(f"{model_path.name}: expected plain tensors at its edges: {exc}") from exc
