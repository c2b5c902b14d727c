"""One model's waiting line: a bounded priority queue and the single thread that works it off."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from appliance.errors import ApplianceError, InferenceFailed, LimitExceeded, Unavailable
from appliance.inference.request import Inference, ModelIdentity, RequestContext, Tensors
from appliance.models.manifest import Role

LOG = logging.getLogger(__name__)
PATIENCE_CHECK_S = 0.05
"""How often a waiting request looks whether its caller has hung up; a finished job wakes it at once."""

SMOOTHING = 0.2
"""Weight of the newest engine call in the running mean behind the retry hint."""


class RunnableEngine(Protocol):
    """What a lane needs of an engine."""

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Outputs by name for inputs by name."""
        ...


class Lease(Protocol):
    """The right to use a loaded model until it is given back."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is."""
        ...

    @property
    def engine(self) -> RunnableEngine:
        """What runs it."""
        ...


class ModelSource(Protocol):
    """What a lane needs of the model registry."""

    def acquire(self, role: Role) -> AbstractContextManager[Lease]:
        """Lease the model of a role; ModelUnavailable where there is none."""
        ...


class Job:
    """One engine call that somebody waits for."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> None:
        self.tensors = tensors
        self.context = context
        self.submitted_s = time.perf_counter()
        self._finished = threading.Event()
        self._inference: Inference | None = None
        self._error: ApplianceError | None = None

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
        while not self._finished.wait(max(0.0, min(PATIENCE_CHECK_S, self.context.deadline.remaining_s()))):
            self.context.check()
        if self._error is not None:
            raise self._error
        if self._inference is None:
            raise InferenceFailed("expected a finished job to carry its outputs and got nothing")
        return self._inference


class Lane:
    """Serves one role; requests wait by priority, then in the order in which they came."""

    def __init__(self, role: Role, models: ModelSource, capacity: int) -> None:
        self._role = role
        self._models = models
        self._waiting: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue(capacity)
        self._order = itertools.count()
        self._gate = threading.Lock()
        self._closed = False
        self._mean_s = 0.0
        self.answered = 0
        self._thread = threading.Thread(target=self._work, name=f"infer-{role.value}", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Requests that wait and have not started."""
        return self._waiting.qsize()

    def submit(self, job: Job) -> None:
        """Queue a job; LimitExceeded when the queue is full, Unavailable when the daemon is stopping."""
        with self._gate:
            if self._closed:
                raise Unavailable(f"the queue of {self._role.value} is closed: the daemon is stopping")
            try:
                self._waiting.put_nowait((int(job.context.priority), next(self._order), job))
            except queue.Full as exc:
                capacity = self._waiting.maxsize
                raise LimitExceeded(
                    f"expected room in the queue of {self._role.value} and got {capacity} waiting requests",
                    retry_after_s=max(0.1, capacity * self._mean_s),
                ) from exc

    def close(self) -> None:
        """Take nothing new, finish what waits, stop the thread."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        self._waiting.put((1 << 30, next(self._order), None))
        self._thread.join()

    def _work(self) -> None:
        while True:
            job = self._waiting.get()[2]
            if job is None:
                return
            try:
                job.finish(self._run(job))
            except ApplianceError as error:
                job.fail(error)
            except Exception as exc:  # the task's edge: an engine's own fault must not end the thread
                LOG.exception("engine call failed", extra={"role": self._role.value})
                failure = InferenceFailed(f"the engine of {self._role.value} failed on a valid input")
                failure.__cause__ = exc
                job.fail(failure)

    def _run(self, job: Job) -> Inference:
        job.context.check()
        with self._models.acquire(self._role) as lease:
            started_s = time.perf_counter()
            outputs: Tensors = dict(lease.engine.infer(job.tensors))
            ended_s = time.perf_counter()
            identity = lease.identity
        self._mean_s += SMOOTHING * ((ended_s - started_s) - self._mean_s)
        self.answered += 1
        return Inference(
            outputs=outputs,
            model=identity,
            engine_ms=(ended_s - started_s) * 1000,
            queue_ms=(started_s - job.submitted_s) * 1000,
        )
