"""How this box compiles a pack's graph: runtime, threads and compile cache, as the configuration says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from appliance.config import MIB, Config
from appliance.models.registry import EngineOpener
from engines import (
    CompileCache,
    DeviceProbe,
    Engine,
    EngineKind,
    EngineOptions,
    PixelInput,
    open_engine,
)
from engines.options import QuantizedGraph


def engine_opener(
    config: Config, probe: DeviceProbe, quantized_graph: QuantizedGraph = QuantizedGraph.BEST
) -> EngineOpener:
    """What compiles a pack's graph here, with the configured threads and cache."""
    settings = config.inference
    options = EngineOptions(
        threads=settings.threads or None, concurrency=settings.streams, quantized_graph=quantized_graph
    )
    cache = CompileCache(config.cache_directory, settings.cache_max_mib * MIB)

    def open_one(model_path: Path, pixels: PixelInput | None = None) -> Engine:
        return open_engine(model_path, replace(options, pixels=pixels), cache, probe=probe).engine

    return open_one


def engine_order(config: Config) -> tuple[EngineKind, ...]:
    """The runtimes to consider, the best first."""
    if config.inference.engine == "auto":
        return (EngineKind.TENSORRT, EngineKind.OPENVINO, EngineKind.ONNXRUNTIME)
    return (EngineKind(config.inference.engine),)
