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
from appliance.inference import (
    Admission,
    Inference,
    InferenceService,
    ModelIdentity,
    Priority,
    QueueRules,
    RequestContext,
)
from appliance.models.manifest import Role
from engines import TensorSpec

ROLE = Role.KARYOTYPE_CLASSIFIER
TENSOR = {"x": np.arange(3.0)}


class Doubling:
    """Gives twice its input; holds every call until its gate is open."""

    inputs = (TensorSpec("x", "FP64", (-1,)),)
    outputs = (TensorSpec("y", "FP64", (-1,)),)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.seen: list[float] = []
        self.rows: list[int] = []

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.begun.release()
        assert self.gate.wait(10.0)
        self.seen.append(float(tensors["x"][0]))
        self.rows.append(len(tensors["x"]))
        if tensors["x"].min() < 0:
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
    with InferenceService(models, QueueRules(2, batch_rows=1)) as service:
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
    service = InferenceService(models, QueueRules(4, batch_rows=1))
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


def test_a_place_is_free_as_soon_as_its_caller_has_gone(service: InferenceService, models: Models) -> None:
    models.engine.gate.clear()
    callers = [Caller(service, 1.0)]
    assert models.engine.begun.acquire(timeout=10.0)
    gone = RequestContext()
    callers += [Caller(service, 2.0, gone), Caller(service, 3.0)]
    wait_until_queued(service, 2)
    gone.cancelled.set()
    callers.append(Caller(service, 4.0))  # no room but for the place of the one who hung up
    assert isinstance(callers[1].join(), Cancelled)
    wait_until_queued(service, 2)
    models.engine.gate.set()
    assert [type(caller.join()) for caller in callers] == [Inference, Cancelled, Inference, Inference]
    assert models.engine.seen == [1.0, 3.0, 4.0]


def test_callers_take_turns(models: Models) -> None:
    with InferenceService(models, QueueRules(8, batch_rows=1)) as service:
        models.engine.gate.clear()
        flood = RequestContext(caller="flood")
        callers = [Caller(service, 1.0, flood)]
        assert models.engine.begun.acquire(timeout=10.0)
        for number in (2.0, 3.0, 4.0):
            callers.append(Caller(service, number, flood))
            wait_until_queued(service, int(number) - 1)
        callers.append(Caller(service, 9.0, RequestContext(caller="patient")))
        wait_until_queued(service, 4)
        models.engine.gate.set()
        for caller in callers:
            caller.join()
    assert models.engine.seen == [1.0, 2.0, 9.0, 3.0, 4.0]


def test_calls_that_wait_together_share_an_engine_call(models: Models) -> None:
    with InferenceService(models, QueueRules(8, batch_rows=4)) as service:
        models.engine.gate.clear()
        callers = [Caller(service, 1.0)]
        assert models.engine.begun.acquire(timeout=10.0)
        for number in range(2, 8):
            callers.append(Caller(service, float(number)))
            wait_until_queued(service, number - 1)
        models.engine.gate.set()
        answers = [caller.join() for caller in callers]
    assert models.engine.rows == [1, 4, 2]
    for number, answer in enumerate(answers, start=1):
        assert isinstance(answer, Inference)
        assert answer.outputs["y"].tolist() == [2.0 * number]
    assert [answer.shared_by for answer in answers if isinstance(answer, Inference)] == [1, 4, 4, 4, 4, 2, 2]


def test_one_calls_fault_is_not_the_others(models: Models) -> None:
    with InferenceService(models, QueueRules(8, batch_rows=4)) as service:
        models.engine.gate.clear()
        callers = [Caller(service, 1.0)]
        assert models.engine.begun.acquire(timeout=10.0)
        callers += [Caller(service, 2.0), Caller(service, -1.0)]
        wait_until_queued(service, 2)
        models.engine.gate.set()
        assert [type(caller.join()) for caller in callers] == [Inference, Inference, InferenceFailed]


def test_several_engine_calls_at_a_time(models: Models) -> None:
    with InferenceService(models, QueueRules(8, batch_rows=1), workers=2) as service:
        models.engine.gate.clear()
        callers = [Caller(service, 1.0), Caller(service, 2.0), Caller(service, 3.0)]
        assert models.engine.begun.acquire(timeout=10.0)
        assert models.engine.begun.acquire(timeout=10.0)
        wait_until_queued(service, 1)
        models.engine.gate.set()
        assert all(isinstance(caller.join(), Inference) for caller in callers)


def test_nothing_less_urgent_starts_while_an_interactive_request_is_under_way(models: Models) -> None:
    admission = Admission(2, QueueRules(4))
    with InferenceService(models, QueueRules(4), admission=admission) as service:
        with admission.enter(RequestContext(priority=Priority.INTERACTIVE)):
            patient = Caller(service, 1.0)
            wait_until_queued(service, 1)
            urgent = Caller(service, 2.0, RequestContext(priority=Priority.INTERACTIVE))
            assert isinstance(urgent.join(), Inference)
            assert models.engine.seen == [2.0]
        assert isinstance(patient.join(), Inference)
    assert models.engine.seen == [2.0, 1.0]


def test_close_runs_what_was_held_back(models: Models) -> None:
    admission = Admission(2, QueueRules(4))
    service = InferenceService(models, QueueRules(4), admission=admission)
    with admission.enter(RequestContext(priority=Priority.INTERACTIVE)):
        patient = Caller(service, 1.0)
        wait_until_queued(service, 1)
        service.close()
        assert models.engine.seen == [1.0]
    assert isinstance(patient.join(), Inference)
