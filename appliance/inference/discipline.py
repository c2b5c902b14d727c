"""Who is served next: bounded queues, ordered by urgency, then by turns among callers.

Pure: no thread, no lock, no clock. `dispatcher` orders engine calls with it and `admission` whole requests;
each asks it under its own lock and tells it the time.

    more urgent priorities go first
    within one priority the callers take turns, each caller's own tickets in their order
    tickets of one queue, one form and one priority may go together (`Ticket.form`)
    one that was passed over for too long goes before all others, one such exception in as long a time
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from appliance.inference.request import Priority


@dataclass(frozen=True)
class QueueRules:
    """Bounds of the queues."""

    capacity: int = 32  # tickets that wait in one queue
    passed_over_s: float = 30.0  # after so long behind more urgent ones a ticket may go first, one at a time
    batch_rows: int = 16  # most rows that tickets are put together to; a larger one goes alone
    batch_delay_s: float = 0.0  # how long two or more wait for a fuller batch; one alone never waits


@dataclass(frozen=True, eq=False)
class Ticket:
    """The place of one engine call, or of one request, in a queue."""

    queue: Hashable  # which one: queues have their own bound, the order is over all of them
    priority: Priority
    caller: str  # whose turn it uses up
    waiting_since_s: float
    rows: int = 1  # size of its batch dimension
    form: Hashable = None  # tickets of equal form can go together; None: goes alone


@dataclass(frozen=True)
class Turn:
    """What may start now."""

    tickets: tuple[Ticket, ...]  # they go together; empty: nothing may start
    look_again_s: float = math.inf  # when that may change by itself; infinity: never


class Discipline:
    """The tickets that wait, and the order in which they go."""

    def __init__(self, rules: QueueRules) -> None:
        self._rules = rules
        self._callers: dict[Priority, OrderedDict[str, list[Ticket]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._waiting: Counter[Hashable] = Counter()
        self._exception_s = -math.inf

    def __len__(self) -> int:
        return self._waiting.total()

    def waiting(self, queue: Hashable) -> int:
        """Tickets in one queue."""
        return self._waiting[queue]

    def offer(self, ticket: Ticket) -> bool:
        """Add a ticket; False if its queue is full."""
        if self._waiting[ticket.queue] >= self._rules.capacity:
            return False
        self._callers[ticket.priority].setdefault(ticket.caller, []).append(ticket)
        self._waiting[ticket.queue] += 1
        return True

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a ticket out, its place is free at once; False if it is not here (any more)."""
        callers = self._callers[ticket.priority]
        if ticket not in callers.get(ticket.caller, ()):
            return False
        self._remove(ticket)
        return True

    def sweep(self, gone: Callable[[Ticket], bool]) -> tuple[Ticket, ...]:
        """Take out every ticket that nobody waits for any more."""
        swept = tuple(ticket for priority in Priority for ticket in self._all(priority) if gone(ticket))
        for ticket in swept:
            self._remove(ticket)
        return swept

    def take(self, now_s: float, least: Priority = Priority.BACKGROUND) -> Turn:
        """Take out what goes next.

        Args:
            now_s: the time, on the clock of `Ticket.waiting_since_s`.
            least: tickets less urgent than this are held back.
        """
        look_again_s = math.inf
        delayed: set[Hashable] = set()
        for first in self._in_turn(least):
            if (first.queue, first.form) in delayed:
                continue
            batch = self._batch(first)
            ready_s = self._ready_s(batch)
            if ready_s <= now_s:
                return self._go(batch)
            delayed.add((first.queue, first.form))
            look_again_s = min(look_again_s, ready_s)
        return Turn((), look_again_s)

    def take_overdue(self, now_s: float) -> Turn:
        """Take out what others passed over for too long, if so long a time has gone since the last such one.

        Interactive tickets are never among them: nothing is more urgent.
        """
        patient = (one for priority in Priority if priority > min(Priority) for one in self._all(priority))
        oldest = min(patient, key=lambda ticket: ticket.waiting_since_s, default=None)
        if oldest is None:
            return Turn(())
        due_s = max(oldest.waiting_since_s, self._exception_s) + self._rules.passed_over_s
        if now_s < due_s:
            return Turn((), due_s)
        self._exception_s = now_s
        return self._go(self._batch(oldest))

    def _in_turn(self, least: Priority) -> Iterator[Ticket]:
        """Every ticket that may go first, the next one first."""
        for priority in Priority:
            if priority <= least:
                yield from self._rounds(priority)

    def _rounds(self, priority: Priority) -> Iterator[Ticket]:
        """The tickets of one priority as the callers take turns."""
        lines = [list(line) for line in self._callers[priority].values()]
        for turn in range(max(map(len, lines), default=0)):
            yield from (line[turn] for line in lines if turn < len(line))

    def _all(self, priority: Priority) -> list[Ticket]:
        return [ticket for line in self._callers[priority].values() for ticket in line]

    def _batch(self, first: Ticket) -> tuple[Ticket, ...]:
        """`first` and those that may go with it, in their turns, as far as the rows go."""
        batch, rows = [first], first.rows
        if first.form is None:
            return (first,)
        for ticket in self._rounds(first.priority):
            fits = (ticket.queue, ticket.form) == (first.queue, first.form)
            if ticket is not first and fits and rows + ticket.rows <= self._rules.batch_rows:
                batch.append(ticket)
                rows += ticket.rows
        return tuple(batch)

    def _ready_s(self, batch: tuple[Ticket, ...]) -> float:
        """When a batch goes: at once, unless it is neither lone nor full and a delay is allowed."""
        rows = sum(ticket.rows for ticket in batch)
        if len(batch) == 1 or rows >= self._rules.batch_rows:
            return -math.inf
        return min(ticket.waiting_since_s for ticket in batch) + self._rules.batch_delay_s

    def _go(self, batch: tuple[Ticket, ...]) -> Turn:
        for ticket in batch:
            self._remove(ticket)
            callers = self._callers[ticket.priority]
            if ticket.caller in callers:
                callers.move_to_end(ticket.caller)  # the others come first before it has another turn
        return Turn(batch)

    def _remove(self, ticket: Ticket) -> None:
        callers = self._callers[ticket.priority]
        line = callers[ticket.caller]
        line.remove(ticket)  # by identity: tickets have no equality of their own
        if not line:
            del callers[ticket.caller]
        self._waiting[ticket.queue] -= 1
