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
PATIENCE_CHECK_S = 0.1
"""How often a waiting request looks whether its caller has hung up. Its place in a queue is free before that:
whoever needs one sweeps the queue first."""


class Priority(enum.IntEnum):
    """Who goes first; a lower number is served earlier."""

    INTERACTIVE = 0  # a person waits at the microscope: nothing else starts meanwhile
    ROUTINE = 1  # the default
    BATCH = 2  # a folder that runs over night
    BACKGROUND = 3  # work of nobody in particular: repeating old analyses, measuring


@dataclass(frozen=True)
class RequestContext:
    """The caller's patience: deadline, whether they hung up, and their place in the queues."""

    deadline: Deadline = field(default_factory=Deadline.never)
    cancelled: threading.Event = field(default_factory=threading.Event)
    priority: Priority = Priority.ROUTINE
    caller: str = ""  # who asks: callers of one priority take turns

    @property
    def ended(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.cancelled.is_set() or self.deadline.remaining_s() <= 0

    def next_check_s(self) -> float:
        """Seconds until who waits for something should call `check` again."""
        return max(0.0, min(PATIENCE_CHECK_S, self.deadline.remaining_s()))

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
    shared_by: int = 1  # calls that ran together in this engine call
    repeated: bool | None = None  # kept from an earlier call; None: nobody looked
