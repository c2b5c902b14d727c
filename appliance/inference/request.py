"""What travels with a request through the pipelines, and what an engine call gives back."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from appliance.clock import Deadline
from appliance.errors import Cancelled
from appliance.models.identity import ModelIdentity

__all__ = ["Inference", "ModelIdentity", "Priority", "RequestContext", "Tensors"]

Tensors = dict[str, NDArray[Any]]


class Priority(enum.IntEnum):
    """Who goes first in a model's queue; a lower number is served earlier."""

    INTERACTIVE = 0  # a person waits at the microscope
    ROUTINE = 1  # the default
    BATCH = 2  # a folder that runs over night


@dataclass(frozen=True)
class RequestContext:
    """The caller's patience: deadline, whether they hung up, and their place in the queue."""

    deadline: Deadline = field(default_factory=Deadline.never)
    cancelled: threading.Event = field(default_factory=threading.Event)
    priority: Priority = Priority.ROUTINE

    def check(self) -> None:
        """Raise Cancelled or DeadlineExceeded when nobody waits for the answer any more."""
        if self.cancelled.is_set():
            raise Cancelled("the caller hung up before the answer was ready")
        self.deadline.check()


@dataclass(frozen=True)
class Inference:
    """The outputs of one engine call and what it took."""

    outputs: Tensors
    model: ModelIdentity
    engine_ms: float  # inside the bare engine call
    queue_ms: float  # from submission to the start of the engine call
