"""Which requests may work at all: so many at a time, the urgent ones before the others.

An analysis decodes, calls several engines and computes between the calls. Ordering the engine calls alone
would let a hundred patient requests keep every core and decoder busy beside the one a person waits for. So

    a request waits here until it has one of the places, in the order of `discipline`
    requests that are interactive have as many places of their own: patient ones never keep them out
    while one of those is under way nothing less urgent starts: no request, no engine call, no next step
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.errors import LimitExceeded
from appliance.inference.discipline import Discipline, QueueRules, Ticket, Turn
from appliance.inference.request import Priority, RequestContext

REQUESTS = "requests"
SMOOTHING = 0.2
"""Weight of the newest request in the running mean behind the retry hint."""

LEAST_RETRY_S = 0.1


class Admission:
    """The places and who waits for one.

    Args:
        places: requests at a time, the interactive ones apart: those have as many again.
        rules: `capacity` requests wait; `passed_over_s` bounds how long an interactive one holds others up.
    """

    def __init__(self, places: int, rules: QueueRules) -> None:
        self._places = places
        self._rules = rules
        self._changed = threading.Condition()
        self._discipline = Discipline(rules)
        self._contexts: dict[Ticket, RequestContext] = {}  # of those who wait
        self._under_way = dict.fromkeys(Priority, 0)
        self._mean_s = 0.0
        self._listeners: list[Callable[[], None]] = []

    @property
    def least(self) -> Priority:
        """The least urgent priority that may start something now."""
        return Priority.INTERACTIVE if self._under_way[Priority.INTERACTIVE] else Priority.BACKGROUND

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        with self._changed:
            return len(self._discipline)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `least` may have changed."""
        self._listeners.append(listener)

    @contextmanager
    def enter(self, context: RequestContext) -> Iterator[None]:
        """Wait for a place and hold it for the length of a `with` block.

        Raises:
            LimitExceeded: too many requests wait already.
            DeadlineExceeded, Cancelled: the caller's patience has ended.
        """
        context.check()
        self._wait_for_place(context)
        began_s = time.perf_counter()
        try:
            yield
        finally:
            with self._changed:
                self._under_way[context.priority] -= 1
                self._mean_s += SMOOTHING * (time.perf_counter() - began_s - self._mean_s)
                self._admit()
                self._changed.notify_all()
            self._tell()

    def give_way(self, context: RequestContext) -> None:
        """Pause between two steps while an interactive request is under way, `passed_over_s` at most.

        Raises:
            DeadlineExceeded, Cancelled: the caller's patience has ended.
        """
        if context.priority <= self.least:
            return
        until_s = time.perf_counter() + self._rules.passed_over_s
        with self._changed:
            while context.priority > self.least and (rest_s := until_s - time.perf_counter()) > 0:
                context.check()
                self._changed.wait(min(rest_s, context.next_check_s()))

    def _wait_for_place(self, context: RequestContext) -> None:
        ticket = Ticket(REQUESTS, context.priority, context.caller, time.perf_counter())
        with self._changed:
            self._offer(ticket, context)
            self._admit()
            try:
                while ticket in self._contexts:
                    context.check()
                    self._changed.wait(context.next_check_s())
                    self._admit()
            except BaseException:
                if self._contexts.pop(ticket, None) is None:
                    self._under_way[context.priority] -= 1  # interrupted just after it was let in
                self._discipline.withdraw(ticket)
                raise
        self._tell()

    def _offer(self, ticket: Ticket, context: RequestContext) -> None:
        offered = self._discipline.offer(ticket)
        if not offered and self._discipline.sweep(lambda one: self._contexts[one].ended):
            offered = self._discipline.offer(ticket)
        if not offered:
            raise LimitExceeded(
                f"expected room for one more request and got {self._rules.capacity} that wait",
                retry_after_s=max(LEAST_RETRY_S, len(self._discipline) * self._mean_s / self._places),
            )
        self._contexts[ticket] = context

    def _admit(self) -> None:
        """Let in whoever may come in. Under the lock."""
        while (turn := self._next()).tickets:
            for ticket in turn.tickets:
                del self._contexts[ticket]
                self._under_way[ticket.priority] += 1
            self._changed.notify_all()

    def _next(self) -> Turn:
        now_s = time.perf_counter()
        interactive = self._under_way[Priority.INTERACTIVE]
        if sum(self._under_way.values()) - interactive < self._places:
            overdue = self._discipline.take_overdue(now_s)
            if overdue.tickets or not interactive:
                return overdue if overdue.tickets else self._discipline.take(now_s)
        if interactive < self._places:
            return self._discipline.take(now_s, Priority.INTERACTIVE)
        return Turn(())

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
