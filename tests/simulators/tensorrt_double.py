"""A second implementation of the part of TensorRT's Python API that the adapter uses, over ONNX Runtime.

A "plan" holds the ONNX bytes and the optimisation profile. Failures are told as the real library tells
them: None or False as the answer, the reason through the logger. Every call is written down in `calls`,
so that a test can hold it against the signatures of the real bindings.
"""

from __future__ import annotations

import enum
import functools
import json
import struct
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.simulators.cuda_double import Cuda
from tests.simulators.tensorrt_double_build import Builder, OnnxParser
from tests.simulators.tensorrt_double_types import (
    FROM_ONNX,
    NUMPY_TYPES,
    PLAN_MAGIC,
    Call,
    DataType,
    ILogger,
    IProgressMonitor,
    Severity,
    TensorIOMode,
    dimensions,
    shape_of,
    written_down,
)


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
        if trt_type not in NUMPY_TYPES:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return NUMPY_TYPES[trt_type]


@written_down("Runtime")
class Runtime:
    def __init__(self, trt: TensorRt, logger: ILogger) -> None:
        trt.cuda.require_context()
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None:
        content = bytes(serialized_engine)
        try:
            if not content.startswith(PLAN_MAGIC):
                raise ValueError("magic tag does not match")
            (length,) = struct.unpack_from("<I", content, len(PLAN_MAGIC))
            start = len(PLAN_MAGIC) + 4
            header = json.loads(content[start : start + length])
            if header["version"] != self._trt.__version__:
                raise ValueError("the plan was built with another version of TensorRT")
            return CudaEngine(self._trt, self._logger, content[start + length :], header["profile"])
        except Exception as exc:  # the real one answers None to anything that it cannot read
            self._logger.log(Severity.ERROR, f"Serialization assertion failed: {exc}")
            return None


@written_down("ICudaEngine")
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
        return FROM_ONNX[self.tensors[name].type.tensor_type.elem_type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return shape_of(self.tensors[name])

    def create_execution_context(self) -> ExecutionContext | None:
        self._trt.cuda.require_context()
        return ExecutionContext(self._trt, self)


@written_down("IExecutionContext")
class ExecutionContext:
    def __init__(self, trt: TensorRt, engine: CudaEngine) -> None:
        self._trt, self._engine = trt, engine
        self._addresses: dict[str, int] = {}
        self._input_shapes = {
            name: shape_of(engine.tensors[name])
            for name in engine.input_names
            if -1 not in shape_of(engine.tensors[name])
        }

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert isinstance(shape, (tuple, list))
        declared = shape_of(self._engine.tensors[name])
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
            return self._input_shapes.get(name, shape_of(self._engine.tensors[name]))
        dynamic = {
            dimension.dim_param: size
            for input_name, shape in self._input_shapes.items()
            for dimension, size in zip(dimensions(self._engine.tensors[input_name]), shape, strict=True)
            if dimension.dim_param
        }
        return tuple(
            dynamic.get(dimension.dim_param, -1) if dimension.dim_param else dimension.dim_value
            for dimension in dimensions(self._engine.tensors[name])
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
