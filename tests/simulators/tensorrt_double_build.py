"""The building half of TensorRT's double: parser, network and configuration; its plan is the ONNX bytes."""

from __future__ import annotations

import json
import struct
from types import SimpleNamespace
from typing import Any

import onnx

from tests.simulators.tensorrt_double_types import (
    PLAN_MAGIC,
    HostMemory,
    ILogger,
    Severity,
    shape_of,
    written_down,
)


@written_down("Builder")
class Builder:
    def __init__(self, trt: Any, logger: ILogger) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self._trt)

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile(self._trt)

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> HostMemory | None:
        if network.model is None:
            self._logger.log(Severity.ERROR, "Network must have at least one output")
            return None
        profile = config.profiles[0].shapes if config.profiles else {}
        for tensor in network.model.graph.input:
            if -1 in shape_of(tensor) and tensor.name not in profile:
                self._logger.log(
                    Severity.ERROR, f"Network has dynamic input {tensor.name} but no optimization profile"
                )
                return None
        if self._trt.__version__.startswith("10.") and not network.flags & 1 << 1:
            self._logger.log(Severity.ERROR, "the double builds strongly typed networks only")
            return None
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Building engine", None, 2)
            for step in range(2):
                if not config.progress_monitor.step_complete("Building engine", step):
                    return None
            config.progress_monitor.phase_finish("Building engine")
        if config.timing_cache is not None:
            config.timing_cache.content += b"t"
        self._trt.builds += 1
        model = network.model.SerializeToString()
        header = json.dumps({"profile": profile, "version": self._trt.__version__}).encode()
        return HostMemory(PLAN_MAGIC + struct.pack("<I", len(header)) + header + model)


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model: onnx.ModelProto | None = None

    @property
    def num_inputs(self) -> int:
        return 0 if self.model is None else len(self.model.graph.input)

    def get_input(self, index: int) -> Any:
        assert self.model is not None
        tensor = self.model.graph.input[index]
        return SimpleNamespace(name=tensor.name, shape=shape_of(tensor))


class OnnxParser:
    def __init__(self, trt: Any, network: Network, logger: ILogger) -> None:
        self._trt, self._logger = trt, logger
        self._network = network
        self._errors: list[str] = []

    def parse_from_file(self, model: str) -> bool:
        assert isinstance(model, str)
        try:
            loaded = onnx.load(model)
            onnx.checker.check_model(loaded)
        except Exception as exc:  # the real parser turns whatever went wrong into errors of its own
            self._errors.append(f"In node -1 (parse): {exc}")
            return False
        unsupported = [node.op_type for node in loaded.graph.node if node.op_type == "StringNormalizer"]
        self._errors += [f"No importer registered for op: {name}" for name in unsupported]
        self._network.model = None if unsupported else loaded
        return not unsupported

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> HostMemory:
        return HostMemory(self.content)


class BuilderConfig:
    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.profiles: list[OptimizationProfile] = []
        self.progress_monitor: Any = None
        self.timing_cache: TimingCache | None = None

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool in self._trt.MemoryPoolType
        assert pool_size > 0

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.timing_cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        assert self.timing_cache is not None
        return self.timing_cache


@written_down("IOptimizationProfile")
class OptimizationProfile:
    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not all(low <= mid <= high for low, mid, high in zip(min, opt, max, strict=True)):
            raise ValueError(f"profile of {input}: expected min <= opt <= max")
        self.shapes[input] = [list(min), list(opt), list(max)]
