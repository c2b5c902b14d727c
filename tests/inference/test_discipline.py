"""The order of service, held against random arrivals and against a plain restatement of each rule."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.inference.discipline import Discipline, QueueRules, Ticket
from appliance.inference.request import Priority

QUEUES = st.sampled_from(["segmenter", "classifier"])
PRIORITIES = st.sampled_from(list(Priority))
CALLERS = st.sampled_from(["microscope", "scanner", "night"])
FORMS = st.sampled_from([None, "crops", "films"])
ROWS = st.integers(1, 6)


def ticket(
    priority: Priority = Priority.ROUTINE,
    caller: str = "",
    since_s: float = 0.0,
    rows: int = 1,
    form: str | None = None,
    queue: str = "classifier",
) -> Ticket:
    return Ticket(queue, priority, caller, since_s, rows, form)


def filled(rules: QueueRules, *tickets: Ticket) -> Discipline:
    discipline = Discipline(rules)
    assert all(discipline.offer(one) for one in tickets)
    return discipline


def drained(discipline: Discipline, now_s: float = 0.0) -> list[Ticket]:
    served: list[Ticket] = []
    while turn := discipline.take(now_s).tickets:
        served.extend(turn)
    return served


def test_the_urgent_go_first_and_equals_in_their_order() -> None:
    late, soon = ticket(Priority.BATCH), ticket(Priority.INTERACTIVE)
    first, second = ticket(), ticket()
    discipline = filled(QueueRules(), late, first, second, soon)
    assert drained(discipline) == [soon, first, second, late]


def test_callers_take_turns_however_many_calls_one_has_waiting() -> None:
    flood = [ticket(caller="flood") for _ in range(5)]
    guest = [ticket(caller="guest") for _ in range(2)]
    discipline = filled(QueueRules(), *flood, *guest)
    assert [one.caller for one in drained(discipline)] == ["flood", "guest"] * 2 + ["flood"] * 3


def test_a_caller_who_was_served_comes_after_one_who_arrived_meanwhile() -> None:
    discipline = filled(QueueRules(), ticket(caller="flood"), ticket(caller="flood"), ticket(caller="flood"))
    discipline.take(0.0)
    discipline.offer(ticket(caller="guest"))
    served = drained(discipline)
    assert [one.caller for one in served] == ["flood", "guest", "flood"]


def test_a_full_queue_takes_nothing_and_the_others_still_do() -> None:
    discipline = filled(QueueRules(capacity=1), ticket(queue="segmenter"))
    assert not discipline.offer(ticket(queue="segmenter"))
    assert discipline.offer(ticket(queue="classifier"))


def test_a_withdrawn_ticket_makes_room_and_is_never_served() -> None:
    gone, stays = ticket(), ticket()
    discipline = filled(QueueRules(capacity=2), gone, stays)
    assert discipline.withdraw(gone)
    assert not discipline.withdraw(gone)
    assert discipline.offer(ticket())
    assert gone not in drained(discipline)


def test_those_held_back_wait() -> None:
    discipline = filled(QueueRules(), ticket(Priority.BATCH), ticket())
    assert discipline.take(0.0, Priority.INTERACTIVE).tickets == ()
    assert len(discipline.take(0.0, Priority.ROUTINE).tickets) == 1
    assert discipline.take(0.0, Priority.ROUTINE).tickets == ()


def test_one_form_shares_a_call_up_to_the_rows_allowed() -> None:
    tickets = [ticket(form="crops", rows=3) for _ in range(4)]
    discipline = filled(QueueRules(batch_rows=8), *tickets)
    assert discipline.take(0.0).tickets == tuple(tickets[:2])
    assert discipline.take(0.0).tickets == tuple(tickets[2:])


def test_a_smaller_call_fills_the_gap_that_a_larger_one_left() -> None:
    first, large, small = (ticket(form="crops", rows=rows) for rows in (5, 4, 3))
    assert filled(QueueRules(batch_rows=8), first, large, small).take(0.0).tickets == (first, small)


def test_a_call_larger_than_a_batch_runs_alone() -> None:
    large, small = ticket(form="crops", rows=92), ticket(form="crops")
    assert filled(QueueRules(batch_rows=32), large, small).take(0.0).tickets == (large,)


@pytest.mark.parametrize(
    "other",
    [
        ticket(form=None),
        ticket(form="films"),
        ticket(form="crops", queue="segmenter"),
        ticket(Priority.BATCH, form="crops"),
    ],
    ids=["no form", "another form", "another model", "less urgent"],
)
def test_what_never_shares_a_call(other: Ticket) -> None:
    first = ticket(form="crops")
    assert filled(QueueRules(), first, other).take(0.0).tickets == (first,)


def test_a_lone_call_never_waits_for_others() -> None:
    lone = ticket(form="crops", since_s=5.0)
    assert filled(QueueRules(batch_delay_s=1.0), lone).take(5.0).tickets == (lone,)


def test_two_wait_for_a_fuller_batch_until_the_delay_of_the_older_one_has_passed() -> None:
    pair = [ticket(form="crops", since_s=5.0), ticket(form="crops", since_s=5.5)]
    discipline = filled(QueueRules(batch_delay_s=1.0), *pair)
    early = discipline.take(5.6)
    assert early.tickets == ()
    assert early.look_again_s == 6.0
    assert discipline.take(6.0).tickets == tuple(pair)


def test_a_full_batch_does_not_wait() -> None:
    pair = [ticket(form="crops", rows=4), ticket(form="crops", rows=4)]
    assert filled(QueueRules(batch_rows=8, batch_delay_s=1.0), *pair).take(0.0).tickets == tuple(pair)


def test_a_batch_that_waits_keeps_no_other_model_waiting() -> None:
    pair = [ticket(form="crops"), ticket(form="crops")]
    other = ticket(queue="segmenter")
    assert filled(QueueRules(batch_delay_s=1.0), *pair, other).take(0.0).tickets == (other,)


def test_one_that_was_passed_over_for_long_goes_first_and_one_only() -> None:
    old = [ticket(Priority.BACKGROUND, since_s=0.0), ticket(Priority.BACKGROUND, since_s=1.0)]
    discipline = filled(QueueRules(passed_over_s=10.0), *old, ticket(Priority.INTERACTIVE, since_s=11.0))
    assert discipline.take_overdue(9.9).look_again_s == 10.0
    assert discipline.take_overdue(11.0).tickets == (old[0],)
    assert discipline.take_overdue(12.0).look_again_s == 21.0
    assert discipline.take_overdue(21.0).tickets == (old[1],)


def test_the_interactive_are_no_exception_of_themselves() -> None:
    discipline = filled(QueueRules(passed_over_s=1.0), ticket(Priority.INTERACTIVE))
    assert discipline.take_overdue(100.0).tickets == ()
    assert discipline.take_overdue(100.0).look_again_s == math.inf


@settings(deadline=None)
@given(st.lists(st.tuples(PRIORITIES, CALLERS), max_size=40))
def test_between_two_turns_of_one_caller_every_waiting_equal_has_one(
    arrivals: list[tuple[Priority, str]],
) -> None:
    discipline = Discipline(QueueRules(capacity=40))
    waiting: dict[tuple[Priority, str], int] = defaultdict(int)
    for priority, caller in arrivals:
        assert discipline.offer(ticket(priority, caller))
        waiting[priority, caller] += 1
    served = drained(discipline)
    assert [one.priority for one in served] == sorted(priority for priority, _ in arrivals)
    last: dict[tuple[Priority, str], int] = {}
    for position, one in enumerate(served):
        mine = (one.priority, one.caller)
        if mine in last:
            between = {other.caller for other in served[last[mine] + 1 : position]}
            others = {
                caller
                for (priority, caller), left in waiting.items()
                if priority is one.priority and left and caller != one.caller
            }
            assert others <= between
        last[mine] = position
        waiting[mine] -= 1


class Arrivals(RuleBasedStateMachine):
    """Random callers come, hang up and are served; what waits is kept beside as a plain list."""

    RULES = QueueRules(capacity=5, passed_over_s=10.0, batch_rows=8, batch_delay_s=1.0)

    def __init__(self) -> None:
        super().__init__()
        self.discipline = Discipline(self.RULES)
        self.waiting: list[Ticket] = []
        self.now_s = 0.0
        self.exception_s = -math.inf

    @rule(priority=PRIORITIES, caller=CALLERS, rows=ROWS, form=FORMS, queue=QUEUES)
    def arrive(self, priority: Priority, caller: str, rows: int, form: str | None, queue: str) -> None:
        one = Ticket(queue, priority, caller, self.now_s, rows, form)
        room = sum(other.queue == queue for other in self.waiting) < self.RULES.capacity
        assert self.discipline.offer(one) is room
        if room:
            self.waiting.append(one)

    @rule(seconds=st.floats(0.0, 6.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(gone)
        assert self.discipline.withdraw(gone)

    @rule(caller=CALLERS)
    def sweep(self, caller: str) -> None:
        swept = self.discipline.sweep(lambda one: one.caller == caller)
        assert set(swept) == {one for one in self.waiting if one.caller == caller}
        self.waiting = [one for one in self.waiting if one.caller != caller]

    @rule(least=PRIORITIES)
    def serve(self, least: Priority) -> None:
        before = list(self.waiting)
        turn = self.discipline.take(self.now_s, least)
        allowed = [one for one in before if one.priority <= least]
        if not turn.tickets:
            # nobody may go, or all who may are pairs that wait for a fuller batch
            assert all(one.form is not None for one in allowed)
            assert bool(allowed) == (turn.look_again_s < math.inf)
            assert not allowed or turn.look_again_s > self.now_s
            return
        self._served(turn.tickets)
        first = turn.tickets[0]
        assert first.priority <= least
        unfit = [one for one in allowed if one.priority < first.priority and one.form is None]
        assert not unfit, "somebody more urgent could have gone alone"

    @rule()
    def serve_overdue(self) -> None:
        patient = [one for one in self.waiting if one.priority is not Priority.INTERACTIVE]
        turn = self.discipline.take_overdue(self.now_s)
        due = patient and self.now_s >= 10.0 + max(
            self.exception_s, min(one.waiting_since_s for one in patient)
        )
        assert bool(turn.tickets) == bool(due)
        if turn.tickets:
            assert turn.tickets[0].waiting_since_s == min(one.waiting_since_s for one in patient)
            self.exception_s = self.now_s
            self._served(turn.tickets)

    def _served(self, tickets: tuple[Ticket, ...]) -> None:
        first = tickets[0]
        assert len(set(tickets)) == len(tickets)
        assert len({(one.queue, one.form, one.priority) for one in tickets}) == 1
        if len(tickets) > 1:
            assert first.form is not None
            assert sum(one.rows for one in tickets) <= self.RULES.batch_rows
        for one in tickets:
            self.waiting.remove(one)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.discipline) == len(self.waiting)
        for queue in ("segmenter", "classifier"):
            assert self.discipline.waiting(queue) == sum(one.queue == queue for one in self.waiting)

    def teardown(self) -> None:
        self.now_s += 100.0
        left = drained(self.discipline, self.now_s)
        assert set(left) == set(self.waiting)
        assert len(left) == len(self.waiting)


TestArrivals = Arrivals.TestCase
TestArrivals.settings = settings(deadline=None)
