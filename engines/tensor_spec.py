"""What a tensor at a model's edge looks like, and the check that says what was expected and what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DYNAMIC = -1
"""A dimension whose size is the caller's to choose (the batch of crops)."""

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""Datatype names of the Open Inference Protocol that numpy can hold (BF16 and BYTES it cannot)."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    `datatype` is a name of the Open Inference Protocol ("FP32"); `shape` has -1 where the size is dynamic.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise ValueError(
                f"tensor {self.name!r}: expected a datatype of {sorted(DATATYPES)}, got {self.datatype!r}"
            )
        if any(size < 1 and size != DYNAMIC for size in self.shape):
            raise ValueError(f"tensor {self.name!r}: expected sizes of 1 or more, or -1, got {self.shape}")

    @classmethod
    def of(cls, name: str, dtype: np.dtype[Any] | type[Any], shape: tuple[int, ...]) -> TensorSpec:
        """Spec for a numpy dtype; raises ValueError for one that has no name in the protocol."""
        wanted = np.dtype(dtype)
        if wanted not in _NAMES:
            raise ValueError(f"tensor {name!r}: expected a dtype of {sorted(DATATYPES)}, got {wanted}")
        return cls(name, _NAMES[wanted], tuple(int(size) for size in shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of `datatype`."""
        return DATATYPES[self.datatype]

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension is the caller's to choose."""
        return DYNAMIC in self.shape

    def mismatch(self, array: NDArray[Any]) -> str | None:
        """A sentence on how `array` breaks this spec, or None if it fits. An empty batch does not fit."""
        if not isinstance(array, np.ndarray):
            return f"tensor {self.name!r}: expected a numpy array, got {type(array).__name__}"
        if array.dtype != self.dtype:
            return f"tensor {self.name!r}: expected datatype {self.datatype}, got {_datatype_name(array)}"
        fits = len(array.shape) == len(self.shape) and all(
            got == want or (want == DYNAMIC and got > 0)
            for want, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            wanted = "[" + ",".join("≥1" if size == DYNAMIC else str(size) for size in self.shape) + "]"
            return f"tensor {self.name!r}: expected shape {wanted}, got {list(array.shape)}"
        return None

    def filled(self, dynamic_size: int) -> NDArray[Any]:
        """Zeros of this spec with every dynamic dimension set to `dynamic_size` (for warming up)."""
        shape = tuple(dynamic_size if size == DYNAMIC else size for size in self.shape)
        return np.zeros(shape, self.dtype)


def _datatype_name(array: NDArray[Any]) -> str:
    return _NAMES.get(array.dtype, str(array.dtype))
