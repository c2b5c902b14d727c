"""One engine call that somebody waits for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from appliance.errors import ApplianceError, Cancelled, DeadlineExceeded, InferenceFailed
from appliance.inference.discipline import Ticket
from appliance.inference.request import Inference, RequestContext
from appliance.models.manifest import Role


class Job:
    """Tensors on their way to an engine, and the answer on its way back.

    Args:
        role: which model.
        ticket: the place in its queue.
        tensors: inputs by name.
        context: the caller's patience.
    """

    def __init__(
        self, role: Role, ticket: Ticket, tensors: Mapping[str, NDArray[Any]], context: RequestContext
    ) -> None:
        self.role = role
        self.ticket = ticket
        self.tensors = tensors
        self.context = context
        self._finished = threading.Event()
        self._inference: Inference | None = None
        self._error: ApplianceError | None = None

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.context.ended

    def finish(self, inference: Inference) -> None:
        """Hand the outputs to who waits."""
        self._inference = inference
        self._finished.set()

    def fail(self, error: ApplianceError) -> None:
        """Raise `error` in the thread that waits."""
        self._error = error
        self._finished.set()

    def wait(self) -> Inference:
        """Block until done; Cancelled or DeadlineExceeded as soon as the caller's patience has ended."""
        while not self._finished.wait(self.context.next_check_s()):
            self.context.check()
        if self._error is not None:
            raise self._error
        if self._inference is None:
            raise InferenceFailed("expected a finished job to carry its outputs and got nothing")
        return self._inference


PATIENCE_ENDED = (Cancelled, DeadlineExceeded)
"""What `Job.wait` raises when the job itself may still be in the queue."""
