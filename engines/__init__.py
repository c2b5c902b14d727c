"""Runtime adapters behind one contract; imports nothing of the daemon, and no runtime before it is needed."""

from engines.cache import CompileCache
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import (
    EngineClosedError,
    EngineError,
    EngineInputError,
    EngineLoadError,
    EngineRunError,
    RuntimeUnavailable,
)
from engines.opening import OpenedEngine, open_engine
from engines.options import EngineOptions, QuantizedGraph
from engines.pixels import PixelInput
from engines.probe import Candidate, Declined, DeviceProbe, probe_devices
from engines.tensor_spec import TensorSpec

__all__ = [
    "Candidate",
    "CompileCache",
    "Declined",
    "DeviceProbe",
    "Engine",
    "EngineClosedError",
    "EngineError",
    "EngineInfo",
    "EngineInputError",
    "EngineKind",
    "EngineLoadError",
    "EngineOptions",
    "EngineRunError",
    "OpenedEngine",
    "PixelInput",
    "QuantizedGraph",
    "RuntimeUnavailable",
    "TensorSpec",
    "open_engine",
    "probe_devices",
]
