"""The threads between queues and engines: each takes what `discipline` says goes next, and runs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from appliance.errors import ApplianceError, InferenceFailed, LimitExceeded, Unavailable
from appliance.inference.admission import Admission
from appliance.inference.batching import form_of, join, rows_of, split, takes_rows
from appliance.inference.discipline import Discipline, QueueRules, Ticket
from appliance.inference.job import PATIENCE_ENDED, Job
from appliance.inference.observer import Observer, Unobserved
from appliance.inference.request import Inference, ModelIdentity, Priority, RequestContext, Tensors
from appliance.models.manifest import Role
from engines.errors import EngineInputError
from engines.tensor_spec import TensorSpec

LOG = logging.getLogger(__name__)
SMOOTHING = 0.2
"""Weight of the newest engine call in the running mean behind the retry hint."""

LEAST_RETRY_S = 0.1


class RunnableEngine(Protocol):
    """What the dispatcher needs of an engine."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What goes in."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What comes out."""
        ...

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
    """What the dispatcher needs of the model registry."""

    def acquire(self, role: Role) -> AbstractContextManager[Lease]:
        """Lease the model of a role; ModelUnavailable where there is none."""
        ...


class Dispatcher:
    """Runs engine calls, at most `workers` at a time over all models.

    One bound over all models and not one for each: engines that compute at the same time take the cores from
    each other, and an urgent call would run slowly beside whatever had begun before it.

    Args:
        models: where loaded models are leased.
        rules: of the queues.
        workers: engine calls at a time; the engines are opened for as many.
        admission: knows whether an interactive request is under way.
        observer: hears of every call.
    """

    def __init__(
        self,
        models: ModelSource,
        rules: QueueRules,
        workers: int,
        admission: Admission,
        observer: Observer | None = None,
    ) -> None:
        self._models = models
        self._observer = observer or Unobserved()
        self._rules = rules
        self._admission = admission
        self._changed = threading.Condition()
        self._discipline = Discipline(rules)
        self._jobs: dict[Ticket, Job] = {}
        self._closed = False
        self._mean_s = 0.0
        self._answered = dict.fromkeys(Role, 0)
        admission.subscribe(self._wake)
        self._threads = [
            threading.Thread(target=self._work, name=f"infer-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Queue a call and wait for its outputs; errors as `InferenceService.infer`."""
        job = Job(role, self._ticket(role, tensors, context), tensors, context)
        self._submit(job)
        try:
            return job.wait()
        except PATIENCE_ENDED:
            self._withdraw(job)
            raise

    def waiting(self, role: Role) -> int:
        """Calls that wait for a model and have not started."""
        with self._changed:
            return self._discipline.waiting(role)

    def answered(self, role: Role) -> int:
        """Calls that a model answered since the start."""
        with self._changed:
            return self._answered[role]

    def close(self) -> None:
        """Take nothing new, finish what waits, stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _ticket(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Ticket:
        with self._models.acquire(role) as lease:
            shared = takes_rows((*lease.engine.inputs, *lease.engine.outputs))
        form = form_of(tensors) if shared else None
        return Ticket(
            queue=role,
            priority=context.priority,
            caller=context.caller,
            waiting_since_s=time.perf_counter(),
            rows=rows_of(tensors) if form is not None else 1,
            form=form,
        )

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise Unavailable("the queues are closed: the daemon is stopping")
            offered = self._discipline.offer(job.ticket)
            if not offered and self._sweep():  # a place whose caller has gone is free
                offered = self._discipline.offer(job.ticket)
            if not offered:
                raise LimitExceeded(
                    f"expected room in the queue of {job.role.value} and got"
                    f" {self._rules.capacity} waiting requests",
                    retry_after_s=self._retry_after_s(),
                )
            self._jobs[job.ticket] = job
            self._changed.notify()

    def _retry_after_s(self) -> float:
        return max(LEAST_RETRY_S, len(self._discipline) * self._mean_s / len(self._threads))

    def _withdraw(self, job: Job) -> None:
        with self._changed:
            if self._discipline.withdraw(job.ticket):
                del self._jobs[job.ticket]

    def _sweep(self) -> bool:
        """Drop what nobody waits for; whether that freed any place. Under the lock."""
        swept = self._discipline.sweep(lambda ticket: self._jobs[ticket].abandoned)
        for ticket in swept:
            del self._jobs[ticket]  # its own thread tells the caller
        return bool(swept)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        while jobs := self._next():
            self._serve(jobs)

    def _next(self) -> list[Job]:
        """The jobs of the next engine call; none when the dispatcher is closed and nothing waits."""
        with self._changed:
            while True:
                self._sweep()
                if self._closed and not len(self._discipline):
                    return []
                now_s = time.perf_counter()
                least = Priority.BACKGROUND if self._closed else self._admission.least
                overdue = self._discipline.take_overdue(now_s)
                turn = overdue if overdue.tickets else self._discipline.take(now_s, least)
                if turn.tickets:
                    return [self._jobs.pop(ticket) for ticket in turn.tickets]
                pause_s = min(overdue.look_again_s, turn.look_again_s) - now_s
                self._changed.wait(pause_s if pause_s < threading.TIMEOUT_MAX else None)

    def _serve(self, jobs: list[Job]) -> None:
        role = jobs[0].role
        try:
            for job, inference in zip(jobs, self._run(role, jobs), strict=True):
                job.finish(inference)
        except Exception as exc:  # the task's edge: an engine's own fault must not end the thread
            if len(jobs) > 1:  # one call's fault must not be the others'
                for job in jobs:
                    self._serve([job])
                return
            jobs[0].fail(self._as_failure(role, exc))

    def _as_failure(self, role: Role, exc: Exception) -> ApplianceError:
        if isinstance(exc, ApplianceError):
            return exc
        LOG.error("engine call failed", extra={"role": role.value}, exc_info=exc)
        failure = InferenceFailed(f"the engine of {role.value} failed on a valid input")
        failure.__cause__ = exc
        return failure

    def _run(self, role: Role, jobs: list[Job]) -> list[Inference]:
        with self._models.acquire(role) as lease:
            started_s = time.perf_counter()
            identity = lease.identity
            try:
                outputs = _infer(lease.engine, jobs)
            except EngineInputError:
                raise  # the caller's fault says nothing about the model
            except Exception:
                if len(jobs) == 1:  # calls that shared one are each tried again alone
                    self._observer.failed(role, identity)
                raise
            ended_s = time.perf_counter()
        with self._changed:
            self._mean_s += SMOOTHING * ((ended_s - started_s) - self._mean_s)
            self._answered[role] += len(jobs)
        for job, own in zip(jobs, outputs, strict=True):
            self._observer.answered(role, identity, dict(job.tensors), own, (ended_s - started_s) * 1000)
        return [
            Inference(
                outputs=own,
                model=identity,
                engine_ms=(ended_s - started_s) * 1000,
                queue_ms=(started_s - job.ticket.waiting_since_s) * 1000,
                shared_by=len(jobs),
            )
            for job, own in zip(jobs, outputs, strict=True)
        ]


def _infer(engine: RunnableEngine, jobs: list[Job]) -> list[Tensors]:
    if len(jobs) == 1:
        return [dict(engine.infer(jobs[0].tensors))]
    outputs = engine.infer(join([job.tensors for job in jobs]))
    return split(outputs, [job.ticket.rows for job in jobs])
