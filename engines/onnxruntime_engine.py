"""ONNX Runtime adapter: the fallback for any CPU, and, without optimisation, the parity reference."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cache import CompileCache
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import EngineLoadError, RuntimeUnavailable, reason_of
from engines.fingerprint import FingerprintParts, file_sha256
from engines.host import Processor, this_processor, usable_cores
from engines.onnx_operators import is_quantized, operator_counts
from engines.options import EngineOptions, QuantizedGraph
from engines.tensor_spec import DYNAMIC, TensorSpec

_ADAPTER_REVISION = 1
_PROVIDER = "CPUExecutionProvider"
_DTYPES: dict[str, type[Any]] = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}
# Its own keys (onnxruntime_session_options_config_keys.h). Without the QDQ fusions the weights'
# DequantizeLinear folds into constants; the clean-up then removes the activations' pairs: FP32 arithmetic
# on the quantised weights, about twice as fast on a CPU as its integer kernels, and no onnx package needed.
_FLOAT_ON_INT8_WEIGHTS = {"session.disable_quant_qdq": "1", "session.enable_quant_qdq_cleanup": "1"}
_FATAL_ONLY = 4


class OnnxRuntimeEngine(Engine):
    """A model in ONNX Runtime's CPU provider. It loads in well under a second, so nothing is cached."""

    def __init__(
        self,
        model_path: Path,
        options: EngineOptions | None = None,
        cache: CompileCache | None = None,  # noqa: ARG002 - one signature for every adapter
        processor: Processor | None = None,
    ) -> None:
        """Load.

        Raises:
            RuntimeUnavailable: onnxruntime is not installed.
            EngineLoadError: the file cannot be read or loaded.
        """
        options = options or EngineOptions()
        processor = processor or this_processor()
        onnxruntime = _import_onnxruntime()
        quantized = is_quantized(operator_counts(model_path))
        threads = options.threads or usable_cores()
        version = str(onnxruntime.__version__)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = threads
        session_options.inter_op_num_threads = 1
        session_options.log_severity_level = _FATAL_ONLY
        # Its threads would otherwise spin after a call on cores that other engines need.
        session_options.add_session_config_entry("session.force_spinning_stop", "1")
        # The arena never gives memory back: four models held 1146 MB with it, 498 MB without, as fast.
        session_options.enable_cpu_mem_arena = False
        session_options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        precision = "FP32"
        notes: tuple[str, ...] = ()
        if options.quantized_graph is QuantizedGraph.AS_IS:
            session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            precision = "INT8 (simulated in FP32)" if quantized else "FP32"
        elif quantized:
            for key, value in _FLOAT_ON_INT8_WEIGHTS.items():
                session_options.add_session_config_entry(key, value)
            precision = "FP32 (int8 weights)"
            notes = ("int8 activations computed in float: faster than integers in this runtime on a CPU",)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model_path), session_options, providers=[_PROVIDER]
            )
            inputs = [_spec(node) for node in self._session.get_inputs()]
            outputs = [_spec(node) for node in self._session.get_outputs()]
        except Exception as exc:  # its classes have no common base but Exception
            reason = reason_of(exc, model_path)
            raise EngineLoadError(f"ONNX Runtime could not load {model_path.name}: {reason}") from exc
        fingerprint = FingerprintParts(
            file_sha256(model_path),
            EngineKind.ONNXRUNTIME,
            version,
            processor.identity,
            _ADAPTER_REVISION,
            replace(options, pixels=None),  # they are made into planes outside of the session
            threads,
        ).digest()
        super().__init__(
            EngineInfo(
                kind=EngineKind.ONNXRUNTIME,
                device=f"CPU: {processor.name} ({threads} threads)",
                precision=precision,
                runtime_version=version,
                fingerprint=fingerprint,
                notes=notes,
            ),
            inputs,
            outputs,
            options.pixels,
        )
        self._turns = threading.BoundedSemaphore(options.concurrency)

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [spec.name for spec in self.outputs]
        with self._turns:
            arrays = self._session.run(names, tensors)
        return dict(zip(names, arrays, strict=True))

    def _close(self) -> None:
        self._session = None


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as exc:
        raise RuntimeUnavailable(f"expected the onnxruntime package, got: {exc}") from exc
    return onnxruntime


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ValueError(f"tensor {node.name!r}: expected one of {sorted(_DTYPES)}, got {node.type}")
    shape = tuple(size if isinstance(size, int) else DYNAMIC for size in node.shape)
    return TensorSpec.of(node.name, _DTYPES[node.type], shape)
