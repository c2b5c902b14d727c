"""Turns a call that reports as it works into an iterator over the reports and, at last, its answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from appliance.analysis import Analysis, StageEvent

Work = Callable[[Callable[[StageEvent], None]], Analysis]


def as_they_end(work: Work) -> Iterator[StageEvent | Analysis]:
    """Run `work` on a thread of its own and give what it reports, then what it returns.

    Whatever `work` raises is raised here. If the iterator is left early the thread ends by itself, because
    the request's context is cancelled when its call ends.
    """
    told: queue.SimpleQueue[StageEvent | Analysis | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            told.put(work(told.put))
        except BaseException as exc:
            told.put(exc)

    threading.Thread(target=run, name="analysis-with-progress", daemon=True).start()
    while True:
        event = told.get()
        if isinstance(event, BaseException):
            raise event
        yield event
        if isinstance(event, Analysis):
            return
