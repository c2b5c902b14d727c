from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.clock import Deadline
from appliance.errors import (
    Cancelled,
    DeadlineExceeded,
    InferenceFailed,
    LimitExceeded,
    ModelUnavailable,
    Unavailable,
)
from appliance.inference import Inference, InferenceService, ModelIdentity, Priority, RequestContext
from appliance.models.manifest import Role

ROLE = Role.KARYOTYPE_CLASSIFIER
TENSOR = {"x": np.arange(3.0)}


class Doubling:
    """Gives twice its input; holds every call until its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.seen: list[float] = []

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.begun.release()
        assert self.gate.wait(10.0)
        self.seen.append(float(tensors["x"][0]))
        if self.seen[-1] < 0:
            raise RuntimeError("patient name in here")
        return {"y": 2 * tensors["x"]}


@dataclass(frozen=True)
class Lease:
    identity: ModelIdentity
    engine: Doubling


class Models:
    """One engine for every role but the X-ray's."""

    def __init__(self) -> None:
        self.engine = Doubling()
        self.leases = 0

    @contextmanager
    def acquire(self, role: Role) -> Iterator[Lease]:
        if role is Role.CHEST_XRAY_DETECTOR:
            raise ModelUnavailable("expected a ready model and got none")
        self.leases += 1
        yield Lease(ModelIdentity("doubling", "1.0.0", role, "0" * 64, "numpy", "CPU", "FP64"), self.engine)
        self.leases -= 1


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def service(models: Models) -> Iterator[InferenceService]:
    with InferenceService(models, queue_capacity=2) as service:
        yield service
        models.engine.gate.set()


class Caller:
    """A request on a thread of its own."""

    def __init__(
        self, service: InferenceService, value: float, context: RequestContext | None = None
    ) -> None:
        self.answer: Inference | Exception | None = None
        self._thread = threading.Thread(target=self._call, args=(service, value, context or RequestContext()))
        self._thread.start()

    def _call(self, service: InferenceService, value: float, context: RequestContext) -> None:
        try:
            self.answer = service.infer(ROLE, {"x": np.array([value])}, context)
        except Exception as exc:
            self.answer = exc

    def join(self) -> Inference | Exception | None:
        self._thread.join(10.0)
        assert not self._thread.is_alive()
        return self.answer


def wait_until_queued(service: InferenceService, number: int) -> None:
    reached = threading.Event()
    for _ in range(2000):
        if service.load(ROLE).queued == number:
            return
        reached.wait(0.005)
    raise AssertionError(f"expected {number} waiting and got {service.load(ROLE).queued}")


def test_an_answer_names_its_model_and_times(service: InferenceService) -> None:
    answer = service.infer(ROLE, TENSOR, RequestContext())
    assert answer.outputs["y"].tolist() == [0.0, 2.0, 4.0]
    assert answer.model.name == "doubling"
    assert answer.engine_ms >= 0
    assert answer.queue_ms >= 0
    assert service.load(ROLE).answered == 1


def test_a_full_queue_refuses_with_a_hint(service: InferenceService, models: Models) -> None:
    models.engine.gate.clear()
    callers = [Caller(service, 1.0)]
    assert models.engine.begun.acquire(timeout=10.0)
    callers += [Caller(service, 2.0), Caller(service, 3.0)]
    wait_until_queued(service, 2)
    with pytest.raises(LimitExceeded, match=r"got 2 waiting") as caught:
        service.infer(ROLE, TENSOR, RequestContext())
    assert caught.value.retry_after_s > 0
    models.engine.gate.set()
    assert all(isinstance(caller.join(), Inference) for caller in callers)


def test_the_interactive_caller_goes_first(service: InferenceService, models: Models) -> None:
    models.engine.gate.clear()
    callers = [Caller(service, 1.0)]
    assert models.engine.begun.acquire(timeout=10.0)
    callers.append(Caller(service, 2.0, RequestContext(priority=Priority.BATCH)))
    wait_until_queued(service, 1)
    callers.append(Caller(service, 3.0, RequestContext(priority=Priority.INTERACTIVE)))
    wait_until_queued(service, 2)
    models.engine.gate.set()
    for caller in callers:
        caller.join()
    assert models.engine.seen == [1.0, 3.0, 2.0]


def test_a_deadline_ends_the_wait_and_the_work_is_dropped(service: InferenceService, models: Models) -> None:
    models.engine.gate.clear()
    first = Caller(service, 1.0)
    assert models.engine.begun.acquire(timeout=10.0)
    late = Caller(service, 2.0, RequestContext(deadline=Deadline.after(0.05)))
    assert isinstance(late.join(), DeadlineExceeded)
    models.engine.gate.set()
    first.join()
    assert service.infer(ROLE, TENSOR, RequestContext()).outputs
    assert 2.0 not in models.engine.seen


def test_a_caller_who_hangs_up_is_let_go(service: InferenceService, models: Models) -> None:
    models.engine.gate.clear()
    context = RequestContext()
    caller = Caller(service, 1.0, context)
    assert models.engine.begun.acquire(timeout=10.0)
    context.cancelled.set()
    assert isinstance(caller.join(), Cancelled)


def test_a_deadline_that_has_passed_never_reaches_the_engine(
    service: InferenceService, models: Models
) -> None:
    with pytest.raises(DeadlineExceeded):
        service.infer(ROLE, TENSOR, RequestContext(deadline=Deadline.after(0.0)))
    assert models.engine.seen == []


def test_a_role_without_a_model(service: InferenceService) -> None:
    with pytest.raises(ModelUnavailable):
        service.infer(Role.CHEST_XRAY_DETECTOR, TENSOR, RequestContext())


def test_an_engines_own_fault_is_ours_and_the_lane_goes_on(service: InferenceService) -> None:
    with pytest.raises(InferenceFailed) as caught:
        service.infer(ROLE, {"x": np.array([-1.0])}, RequestContext())
    assert "patient" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert service.infer(ROLE, TENSOR, RequestContext()).outputs


def test_close_finishes_what_waits_and_takes_nothing_new(models: Models) -> None:
    service = InferenceService(models, queue_capacity=4)
    models.engine.gate.clear()
    callers = [Caller(service, 1.0)]
    assert models.engine.begun.acquire(timeout=10.0)
    callers.append(Caller(service, 2.0))
    wait_until_queued(service, 1)
    models.engine.gate.set()
    service.close()
    assert all(isinstance(caller.join(), Inference) for caller in callers)
    with pytest.raises(Unavailable, match="stopping"):
        service.infer(ROLE, TENSOR, RequestContext())
    service.close()
