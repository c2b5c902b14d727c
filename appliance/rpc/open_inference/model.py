"""What a model looks like through the Open Inference Protocol, whatever is behind its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InvalidInput
from appliance.inference import RequestContext
from appliance.models.registry import ModelState
from engines.tensor_spec import DATATYPES, DYNAMIC

BYTES = "BYTES"
"""Datatype of byte strings of any length; in arrays of ours objects of type `bytes`."""

FROM_CACHE = "from_cache"
"""Parameter of a response: whether the answer was kept from an earlier request; absent where none is."""

SERVED_VERSION = "1"
"""Of every model on this protocol: its clients take versions for numbers, and perf_analyzer drops the
statistics of any other. One is served at a time; its pack's own version is the parameter `pack_version`."""

Parameter = bool | int | float | str
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Port:
    """One input or output."""

    name: str
    datatype: str  # FP32 and so on, or BYTES
    shape: tuple[int, ...]  # -1 is the caller's to choose
    max_dynamic: int = 1  # largest size where it is the caller's to choose

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype; object for BYTES."""
        return DATATYPES[self.datatype] if self.datatype != BYTES else np.dtype(object)

    def check(self, datatype: str, shape: tuple[int, ...]) -> None:
        """InvalidInput unless a tensor of `datatype` and `shape` may come in here."""
        if datatype != self.datatype:
            raise InvalidInput(
                f"input {self.name!r}: expected datatype {self.datatype} and got {datatype[:32]!r}"
            )
        fits = len(shape) == len(self.shape) and all(
            1 <= got <= self.max_dynamic if want == DYNAMIC else got == want
            for want, got in zip(self.shape, shape, strict=True)
        )
        if not fits:
            wanted = ",".join(f"1..{self.max_dynamic}" if n == DYNAMIC else str(n) for n in self.shape)
            got_words = ",".join(str(n) for n in shape[:16]) + (",…" if len(shape) > 16 else "")
            raise InvalidInput(f"input {self.name!r}: expected shape [{wanted}] and got [{got_words}]")

    def size_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of `shape`; not for BYTES."""
        return math.prod(shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ModelCard:
    """What a model says about itself."""

    name: str
    version: str
    platform: str  # kind of model file and runtime
    backend: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_batch: int = 0  # 0 where no dimension is a batch
    on_gpu: bool = False
    model_file: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelHealth:
    """How a model stands."""

    name: str
    version: str
    state: ModelState
    reason: str  # empty when READY


@dataclass(frozen=True)
class Wanted:
    """What a request asks of a model beside its tensors."""

    request_id: str
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True)
class Outcome:
    """What a model answers."""

    version: str
    outputs: Tensors
    facts: Mapping[str, Parameter]  # parameters of the response
    inferences: int = 1  # size of the batch
    queue_ns: int = 0
    read_ns: int = 0  # decoding, where the model does it
    infer_ns: int = 0
    shared_by: int = 1  # requests that ran together in one engine call
    repeated: bool | None = None  # kept from an earlier request; None: nobody looked


class ServedModel(Protocol):
    """A model that can be asked."""

    @property
    def health(self) -> ModelHealth:
        """How it stands."""
        ...

    def card(self) -> ModelCard:
        """What it says about itself; ModelUnavailable while it is not loaded."""
        ...

    def infer(self, card: ModelCard, tensors: Tensors, wanted: Wanted, context: RequestContext) -> Outcome:
        """Answer; `tensors` fit the inputs of `card`."""
        ...
