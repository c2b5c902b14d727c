from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from appliance.clock import Deadline
from appliance.errors import Cancelled, DeadlineExceeded, LimitExceeded
from appliance.inference import Admission, Priority, QueueRules, RequestContext

ROUTINE = RequestContext()
INTERACTIVE = RequestContext(priority=Priority.INTERACTIVE)


class Guests:
    """Requests on threads of their own, each inside until it is told to leave."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[str] = []
        self._came = threading.Condition()
        self._pool = ThreadPoolExecutor(16)
        self._leave: dict[str, threading.Event] = {}
        self._ended: dict[str, Future[None]] = {}

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, *_: object) -> None:
        for event in self._leave.values():
            event.set()
        self._pool.shutdown(wait=True)

    def come(self, name: str, context: RequestContext = ROUTINE) -> Future[None]:
        self._leave[name] = threading.Event()
        self._ended[name] = self._pool.submit(self._stay, name, context)
        return self._ended[name]

    def leave(self, name: str) -> None:
        self._leave[name].set()
        self._ended[name].result(10.0)

    def expect(self, *names: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: self.inside == list(names), 10.0), self.inside

    def _stay(self, name: str, context: RequestContext) -> None:
        with self.admission.enter(context):
            with self._came:
                self.inside.append(name)
                self._came.notify_all()
            assert self._leave[name].wait(10.0)


def until(holds: Callable[[], bool]) -> None:
    moment = threading.Event()
    for _ in range(2000):
        if holds():
            return
        moment.wait(0.005)
    raise AssertionError("it never came true")


def test_no_more_than_the_places_and_then_in_turn() -> None:
    admission = Admission(1, QueueRules(4))
    with Guests(admission) as guests:
        guests.come("first", RequestContext(caller="flood"))
        guests.expect("first")
        for number, (name, caller) in enumerate(
            [("second", "flood"), ("third", "flood"), ("guest", "guest")]
        ):
            guests.come(name, RequestContext(caller=caller))
            until(lambda number=number: admission.waiting == number + 1)
        for name in ("first", "second", "guest"):
            guests.leave(name)
        guests.expect("first", "second", "guest", "third")


def test_patient_requests_never_keep_an_interactive_one_out() -> None:
    with Guests(Admission(1, QueueRules(4))) as guests:
        guests.come("routine")
        guests.expect("routine")
        guests.come("person", INTERACTIVE)
        guests.expect("routine", "person")


def test_nobody_patient_comes_in_while_an_interactive_request_is_under_way() -> None:
    admission = Admission(2, QueueRules(4))
    with Guests(admission) as guests:
        guests.come("person", INTERACTIVE)
        guests.expect("person")
        guests.come("routine")
        until(lambda: admission.waiting == 1)
        assert admission.least is Priority.INTERACTIVE
        guests.leave("person")
        guests.expect("person", "routine")
        assert admission.least is Priority.BACKGROUND


def test_but_not_for_ever() -> None:
    with Guests(Admission(2, QueueRules(4, passed_over_s=0.02))) as guests:
        guests.come("person", INTERACTIVE)
        guests.expect("person")
        guests.come("background", RequestContext(priority=Priority.BACKGROUND))
        guests.expect("person", "background")


def test_a_full_line_refuses_with_a_hint() -> None:
    admission = Admission(1, QueueRules(1))
    with Guests(admission) as guests:
        guests.come("first")
        guests.expect("first")
        guests.come("second")
        until(lambda: admission.waiting == 1)
        with pytest.raises(LimitExceeded, match="got 1 that wait") as refused, admission.enter(ROUTINE):
            pass
        assert refused.value.retry_after_s > 0


def test_a_place_in_the_line_is_free_as_soon_as_its_caller_has_gone() -> None:
    admission = Admission(1, QueueRules(1))
    with Guests(admission) as guests:
        guests.come("first")
        guests.expect("first")
        gone = RequestContext()
        left = guests.come("gone", gone)
        until(lambda: admission.waiting == 1)
        gone.cancelled.set()
        guests.come("next")
        with pytest.raises(Cancelled):
            left.result(10.0)
        guests.leave("first")
        guests.expect("first", "next")


def test_patience_ends_in_the_line() -> None:
    with Guests(Admission(1, QueueRules(2))) as guests:
        guests.come("first")
        guests.expect("first")
        late = guests.come("late", RequestContext(deadline=Deadline.after(0.02)))
        with pytest.raises(DeadlineExceeded):
            late.result(10.0)
        assert guests.admission.waiting == 0


def test_a_step_waits_while_an_interactive_request_is_under_way() -> None:
    admission = Admission(1, QueueRules(2))
    admission.give_way(ROUTINE)
    with ThreadPoolExecutor(1) as pool:
        with admission.enter(INTERACTIVE):
            admission.give_way(INTERACTIVE)
            step = pool.submit(admission.give_way, ROUTINE)
            gone = RequestContext(deadline=Deadline.after(0.02))
            with pytest.raises(DeadlineExceeded):
                admission.give_way(gone)
            assert not step.done()
        step.result(10.0)


def test_a_step_waits_so_long_and_no_longer() -> None:
    admission = Admission(1, QueueRules(2, passed_over_s=0.02))
    with admission.enter(INTERACTIVE):
        admission.give_way(ROUTINE)


def test_a_request_that_fails_gives_its_place_back() -> None:
    admission = Admission(1, QueueRules(1))
    for _ in range(3):
        with pytest.raises(RuntimeError), admission.enter(ROUTINE):
            raise RuntimeError("broken")
    with admission.enter(ROUTINE):
        assert admission.waiting == 0
