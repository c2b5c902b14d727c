"""A second implementation of the part of TensorRT's Python API that the adapter uses, over ONNX Runtime.

A "plan" holds the ONNX bytes and the optimisation profile. Failures are told as the real library tells
them: None or False as the answer, the reason through the logger. Every call is written down in `calls`,
so that a test can hold it against the signatures of the real bindings.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.simulators.cuda_double import Cuda

_PLAN_MAGIC = b"DOUBLEPLAN"


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8


_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.BOOL: np.bool_,
    DataType.UINT8: np.uint8,
    DataType.INT64: np.int64,
}
_FROM_ONNX = {
    onnx.TensorProto.FLOAT: DataType.FLOAT,
    onnx.TensorProto.FLOAT16: DataType.HALF,
    onnx.TensorProto.INT8: DataType.INT8,
    onnx.TensorProto.INT32: DataType.INT32,
    onnx.TensorProto.BOOL: DataType.BOOL,
    onnx.TensorProto.UINT8: DataType.UINT8,
    onnx.TensorProto.INT64: DataType.INT64,
}


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


@dataclass(frozen=True)
class Call:
    """One call of ours: the real class and member, and what was handed over."""

    owner: str
    member: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


class TensorRt:
    """Stands for the module `tensorrt`; shares one double machine with pycuda's double."""

    def __init__(self, cuda: Cuda, version: str = "10.3.0") -> None:
        self.__version__ = version
        self.cuda = cuda
        self.calls: list[Call] = []
        self.builds = 0
        self.DataType, self.TensorIOMode = DataType, TensorIOMode
        self.MemoryPoolType = enum.IntEnum("MemoryPoolType", {"WORKSPACE": 0})
        flags = {"STRONGLY_TYPED": 1} if version.startswith("10.") else {"PREFER_JIT_PYTHON_PLUGINS": 2}
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", flags)
        self.ILogger = ILogger
        self.IProgressMonitor = IProgressMonitor
        self.Builder = functools.partial(Builder, self)
        self.OnnxParser = functools.partial(OnnxParser, self)
        self.Runtime = functools.partial(Runtime, self)

    def nptype(self, trt_type: DataType) -> type:
        if trt_type not in _NUMPY:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return _NUMPY[trt_type]


def _written_down(owner: str) -> Callable[[type], type]:
    """Class decorator: every public method of the class leaves a Call behind."""

    def decorate(kind: type) -> type:
        for name, method in list(vars(kind).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(kind, name, _noting(owner, name, method))
        return kind

    return decorate


def _noting(owner: str, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._trt.calls.append(Call(owner, name, args, kwargs))
        return method(self, *args, **kwargs)

    return noted


class ILogger:
    Severity = Severity

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class HostMemory:
    """IHostMemory: a buffer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content

    @property
    def nbytes(self) -> int:
        return len(self._content)


# Building


@_written_down("Builder")
class Builder:
    def __init__(self, trt: TensorRt, logger: ILogger) -> None:
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
            if -1 in _shape(tensor) and tensor.name not in profile:
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
        return HostMemory(_PLAN_MAGIC + struct.pack("<I", len(header)) + header + model)


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
        return SimpleNamespace(name=tensor.name, shape=_shape(tensor))


class OnnxParser:
    def __init__(self, trt: TensorRt, network: Network, logger: ILogger) -> None:
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
    def __init__(self, trt: TensorRt) -> None:
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


@_written_down("IOptimizationProfile")
class OptimizationProfile:
    def __init__(self, trt: TensorRt) -> None:
        self._trt = trt
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not all(low <= mid <= high for low, mid, high in zip(min, opt, max, strict=True)):
            raise ValueError(f"profile of {input}: expected min <= opt <= max")
        self.shapes[input] = [list(min), list(opt), list(max)]


# Running


@_written_down("Runtime")
class Runtime:
    def __init__(self, trt: TensorRt, logger: ILogger) -> None:
        trt.cuda.require_context()
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None:
        content = bytes(serialized_engine)
        try:
            if not content.startswith(_PLAN_MAGIC):
                raise ValueError("magic tag does not match")
            (length,) = struct.unpack_from("<I", content, len(_PLAN_MAGIC))
            start = len(_PLAN_MAGIC) + 4
            header = json.loads(content[start : start + length])
            if header["version"] != self._trt.__version__:
                raise ValueError("the plan was built with another version of TensorRT")
            return CudaEngine(self._trt, self._logger, content[start + length :], header["profile"])
        except Exception as exc:  # the real one answers None to anything that it cannot read
            self._logger.log(Severity.ERROR, f"Serialization assertion failed: {exc}")
            return None


@_written_down("ICudaEngine")
class CudaEngine:
    def __init__(self, trt: TensorRt, logger: ILogger, model: bytes, profile: dict[str, Any]) -> None:
        self._trt, self.logger, self.profile = trt, logger, profile
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(model).graph
        self.tensors = {tensor.name: tensor for tensor in (*graph.input, *graph.output)}
        self.input_names = [tensor.name for tensor in graph.input]
        self.output_names = [tensor.name for tensor in graph.output]

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.input_names else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return _FROM_ONNX[self.tensors[name].type.tensor_type.elem_type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return _shape(self.tensors[name])

    def create_execution_context(self) -> ExecutionContext | None:
        self._trt.cuda.require_context()
        return ExecutionContext(self._trt, self)


@_written_down("IExecutionContext")
class ExecutionContext:
    def __init__(self, trt: TensorRt, engine: CudaEngine) -> None:
        self._trt, self._engine = trt, engine
        self._addresses: dict[str, int] = {}
        self._input_shapes = {
            name: _shape(engine.tensors[name])
            for name in engine.input_names
            if -1 not in _shape(engine.tensors[name])
        }

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert isinstance(shape, (tuple, list))
        declared = _shape(self._engine.tensors[name])
        low, _, high = self._engine.profile.get(name, (declared, declared, declared))
        if len(shape) != len(low) or not all(
            a <= got <= b for a, got, b in zip(low, shape, high, strict=True)
        ):
            self._engine.logger.log(Severity.ERROR, f"{name}: {shape} is outside of the profile")
            return False
        self._input_shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.input_names if name not in self._input_shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._engine.input_names:
            return self._input_shapes.get(name, _shape(self._engine.tensors[name]))
        dynamic = {
            dimension.dim_param: size
            for input_name, shape in self._input_shapes.items()
            for dimension, size in zip(_dimensions(self._engine.tensors[input_name]), shape, strict=True)
            if dimension.dim_param
        }
        return tuple(
            dynamic.get(dimension.dim_param, -1) if dimension.dim_param else dimension.dim_value
            for dimension in _dimensions(self._engine.tensors[name])
        )

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        self._addresses[name] = memory
        return name in self._engine.tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._trt.cuda.require_context()
        if self.infer_shapes() or set(self._addresses) != set(self._engine.tensors):
            self._engine.logger.log(Severity.ERROR, "not all shapes or addresses are set")
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self._engine.tensors}
        self._trt.cuda.stream(stream_handle).enqueue(lambda: self._kernel(shapes))
        return True

    def _kernel(self, shapes: dict[str, tuple[int, ...]]) -> None:
        cuda, engine = self._trt.cuda, self._engine
        feeds = {}
        for name in engine.input_names:
            dtype = np.dtype(self._trt.nptype(engine.get_tensor_dtype(name)))
            size = int(np.prod(shapes[name])) * dtype.itemsize
            feeds[name] = np.frombuffer(cuda.read(self._addresses[name], size), dtype).reshape(shapes[name])
        for name, array in zip(
            engine.output_names, engine.session.run(engine.output_names, feeds), strict=True
        ):
            assert array.shape == shapes[name]
            cuda.write(self._addresses[name], array.tobytes())


def _dimensions(tensor: onnx.ValueInfoProto) -> list[Any]:
    return list(tensor.type.tensor_type.shape.dim)


def _shape(tensor: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(-1 if dim.dim_param else dim.dim_value for dim in _dimensions(tensor))
