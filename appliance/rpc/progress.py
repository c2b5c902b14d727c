"""Turns a call that reports as it works into an iterator over the reports and, at last, its answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Event = TypeVar("Event")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Ended(Generic[Answer]):
    answer: Answer


def as_they_end(work: Callable[[Callable[[Event], None]], Answer]) -> Iterator[Event | Answer]:
    """Run `work` on a thread of its own and give what it reports, then what it returns.

    Whatever `work` raises is raised here. If the iterator is left early the thread ends by itself: an
    analysis because the request's context is cancelled when its call ends, an install when it is done.
    """
    told: queue.SimpleQueue[Event | _Ended[Answer] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            told.put(_Ended(work(told.put)))
        except BaseException as exc:
            told.put(exc)

    threading.Thread(target=run, name="call-with-progress", daemon=True).start()
    while True:
        event = told.get()
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, _Ended):
            yield event.answer
            return
        yield event
