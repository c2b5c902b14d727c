"""The one door to the engines: finds the lane of a role, waits for its answer, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from appliance.inference.lane import Job, Lane, ModelSource
from appliance.inference.request import Inference, RequestContext
from appliance.models.manifest import Role


@dataclass(frozen=True)
class LaneLoad:
    """How busy one model is."""

    queued: int  # requests that wait
    answered: int  # requests answered since the start


class InferenceService:
    """Runs engine calls for the pipelines, each role's one after the other on a thread of its own.

    Args:
        models: where loaded models are leased; it outlives this service.
        queue_capacity: most requests that wait for one model before LimitExceeded.
    """

    def __init__(self, models: ModelSource, queue_capacity: int) -> None:
        self._lanes = {role: Lane(role, models, queue_capacity) for role in Role}

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Run the model of `role` on `tensors` and wait for its outputs.

        Args:
            role: which model.
            tensors: inputs by name, with the shapes and datatypes of the pack's contract.
            context: the caller's deadline, cancellation and priority; a call that nobody waits for any
                more is dropped if it has not begun.

        Raises:
            LimitExceeded: too many requests wait already.
            ModelUnavailable: no engine is ready for the role.
            DeadlineExceeded, Cancelled: the caller's patience has ended.
            InferenceFailed: the engine failed.
        """
        context.check()
        job = Job(tensors, context)
        self._lanes[role].submit(job)
        return job.wait()

    def load(self, role: Role) -> LaneLoad:
        """How busy the model of `role` is."""
        lane = self._lanes[role]
        return LaneLoad(queued=lane.queued, answered=lane.answered)

    def close(self) -> None:
        """Take nothing new, finish what waits, stop the threads."""
        for lane in self._lanes.values():
            lane.close()

    def __enter__(self) -> InferenceService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
