"""Opens a model in the best runtime of this machine; if that fails, in the next, with the reason kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.cache import CompileCache
from engines.contract import Engine, EngineKind
from engines.errors import EngineLoadError, RuntimeUnavailable
from engines.onnx_operators import operator_counts
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.openvino_engine import OpenVinoEngine
from engines.options import EngineOptions
from engines.probe import Candidate, Declined, DeviceProbe, probe_devices
from engines.tensorrt_build import Progress
from engines.tensorrt_engine import TensorRtEngine

Loader = Callable[[Path, EngineOptions, "CompileCache | None", "Progress | None"], Engine]
_log = logging.getLogger(__name__)

_LOADERS: dict[EngineKind, Loader] = {
    EngineKind.TENSORRT: lambda path, options, cache, on_progress: TensorRtEngine(
        path, options, cache, on_progress=on_progress
    ),
    EngineKind.OPENVINO: lambda path, options, cache, _: OpenVinoEngine(path, options, cache),
    EngineKind.ONNXRUNTIME: lambda path, options, cache, _: OnnxRuntimeEngine(path, options, cache),
}


@dataclass(frozen=True)
class OpenedEngine:
    """The engine that was taken, and every other with the reason why not."""

    engine: Engine
    declined: tuple[Declined, ...]


def open_engine(
    model_path: Path,
    options: EngineOptions | None = None,
    cache: CompileCache | None = None,
    *,
    probe: DeviceProbe | None = None,
    on_progress: Progress | None = None,
    loaders: dict[EngineKind, Loader] | None = None,
) -> OpenedEngine:
    """Load the model in the best candidate; if that fails, in the next.

    Args:
        model_path: one portable ONNX file.
        options: threads, concurrency and the like; by default `EngineOptions()`.
        cache: where compiled forms are kept; None compiles every time.
        probe: the candidates; by default this machine is probed. Restrict or re-rank with its `order`.
        on_progress: hears of the steps of a long build (TensorRT).
        loaders: how to make each kind of engine; by default the adapters of this package.

    Raises:
        EngineLoadError: the file is no ONNX model, or every usable candidate failed; it names all reasons.
        RuntimeUnavailable: no candidate is usable here at all; it names all reasons.
    """
    options = options or EngineOptions()
    probe = probe or probe_devices()
    loaders = loaders or _LOADERS
    operator_counts(model_path)  # a damaged file is no runtime's fault: do not try them all on it
    failed: dict[Candidate, str] = {}
    for candidate in probe.usable:
        try:
            engine = loaders[candidate.kind](model_path, options, cache, on_progress)
        except (EngineLoadError, RuntimeUnavailable) as exc:
            failed[candidate] = f"{candidate} was tried first and failed: {exc}"
            _log.warning(
                "%s could not load %s; trying the next runtime", candidate.kind.value, model_path.name
            )
            continue
        declined = tuple(
            Declined(other.kind, failed.get(other) or reason.reason)
            for other, reason in zip(
                (other for other in probe.candidates if other != candidate),
                probe.declined(candidate),
                strict=True,
            )
        )
        return OpenedEngine(engine, declined)
    reasons = [failed.get(candidate) or str(candidate.unavailable) for candidate in probe.candidates]
    if failed:
        raise EngineLoadError(f"no runtime could load {model_path.name}: " + "; ".join(reasons))
    raise RuntimeUnavailable("expected at least one usable runtime, got none: " + "; ".join(reasons))
