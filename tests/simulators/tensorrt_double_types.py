"""What both halves of TensorRT's double share: enumerations, base classes, buffers, the record of calls."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

PLAN_MAGIC = b"DOUBLEPLAN"


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8


NUMPY_TYPES = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.BOOL: np.bool_,
    DataType.UINT8: np.uint8,
    DataType.INT64: np.int64,
}
FROM_ONNX = {
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


def written_down(owner: str) -> Callable[[type], type]:
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


def dimensions(tensor: onnx.ValueInfoProto) -> list[Any]:
    return list(tensor.type.tensor_type.shape.dim)


def shape_of(tensor: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(-1 if dim.dim_param else dim.dim_value for dim in dimensions(tensor))
