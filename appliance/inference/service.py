"""The one door to the engines: waits for a turn, runs the call, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from appliance.inference.admission import Admission
from appliance.inference.discipline import QueueRules
from appliance.inference.dispatcher import Dispatcher, ModelSource
from appliance.inference.observer import Observer
from appliance.inference.request import Inference, RequestContext
from appliance.models.manifest import Role


@dataclass(frozen=True)
class LaneLoad:
    """How busy one model is."""

    queued: int  # calls that wait
    answered: int  # calls answered since the start


class InferenceService:
    """Runs engine calls for the pipelines and for raw tensors, in the order of `discipline`.

    Args:
        models: where loaded models are leased; it outlives this service.
        rules: of the queues, one for each model.
        workers: engine calls at a time; the engines are opened for as many.
        admission: knows whether an interactive request is under way; without one nothing is held back.
        observer: hears of every engine call.
    """

    def __init__(
        self,
        models: ModelSource,
        rules: QueueRules | None = None,
        workers: int = 1,
        admission: Admission | None = None,
        observer: Observer | None = None,
    ) -> None:
        rules = rules or QueueRules()
        self._admission = admission or Admission(1, rules)
        self._dispatcher = Dispatcher(models, rules, workers, self._admission, observer)

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Run the model of `role` on `tensors` and wait for its outputs.

        Args:
            role: which model.
            tensors: inputs by name, with the shapes and datatypes of the pack's contract; the caller must not
                change them before this returns.
            context: the caller's deadline, cancellation, priority and name; a call that nobody waits for any
                more is dropped if it has not begun.

        Raises:
            LimitExceeded: too many requests wait already.
            ModelUnavailable: no engine is ready for the role.
            DeadlineExceeded, Cancelled: the caller's patience has ended.
            InferenceFailed: the engine failed.
        """
        context.check()
        inference = self._dispatcher.run(role, tensors, context)
        self._admission.give_way(context)
        return inference

    def load(self, role: Role) -> LaneLoad:
        """How busy the model of `role` is."""
        return LaneLoad(queued=self._dispatcher.waiting(role), answered=self._dispatcher.answered(role))

    def close(self) -> None:
        """Take nothing new, finish what waits, stop the threads."""
        self._dispatcher.close()

    def __enter__(self) -> InferenceService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
