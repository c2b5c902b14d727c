"""Closed loops: a number of callers, each with its next request as soon as the last one is answered.

Orders come one a line as JSON on standard input, what was seen goes back as one line of JSON. Runs in other
environments than ours too, so it needs numpy alone.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bench.serving.processes import usage

WARM_UP_S = 0.5
BACK_OFF_S = 0.05
"""How long a caller waits that was told to come again; the stock client hides the server's own hint."""

BEGIN_LIMIT_S = 30.0
POLL_S = 0.1


class Busy(Exception):
    """The server told the caller to come again."""


class NotServed(Exception):
    """The server will not answer this request, however often it is asked."""


@dataclass(frozen=True)
class Order:
    """One thing to do."""

    address: str
    model: str
    payload: str
    clients: int = 1
    seconds: float = 0.0  # 0: wait until one request is answered
    shared_memory: bool = False
    mark: str = ""  # in the environment of the server's processes
    wait_s: float = 0.0  # for the first answer


@dataclass(frozen=True)
class Load:
    """What was seen."""

    latencies_ms: list[float]
    answers_s: float  # from the first to the last answer
    refused: int  # told to come again
    window_s: float  # over which processor time was counted
    server_cpu_s: float
    client_cpu_s: float
    resident_mb: float


class Caller(Protocol):
    """Makes one request and reads its answer."""

    def __call__(self) -> None:
        """Busy if it is to come again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class Loop(threading.Thread):
    """One client."""

    def __init__(self, caller: Caller, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._caller, self._stop_asked = caller, stop
        self.answers: list[tuple[float, float]] = []  # when each began and ended
        self.refused: list[float] = []
        self.error: Exception | None = None

    @property
    def begun(self) -> bool:
        """Whether it has heard from the server."""
        return bool(self.answers or self.refused or self.error)

    def run(self) -> None:
        """Ask until told to stop."""
        try:
            while not self._stop_asked.is_set():
                began_s = time.perf_counter()
                try:
                    self._caller()
                except Busy:
                    self.refused.append(time.perf_counter())
                    time.sleep(BACK_OFF_S)
                else:
                    self.answers.append((began_s, time.perf_counter()))
        except Exception as exc:  # the thread's edge: told to whoever ordered
            self.error = exc


def carry_out(order: Order, caller_of: Callable[[Order, int], Caller]) -> Load:
    """Keep `order.clients` loops going for `order.seconds`, after a warm-up."""
    with ExitStack() as held:
        callers = []
        for number in range(order.clients):
            callers.append(caller_of(order, number))
            held.callback(callers[-1].close)
        if not order.seconds:
            _wait(callers[0], order.wait_s)
            return Load([], 0.0, 0, 0.0, 0.0, 0.0, usage(order.mark).resident_mb)
        return _measure(callers, order)


def _measure(callers: list[Caller], order: Order) -> Load:
    stop = threading.Event()
    loops = [Loop(caller, stop) for caller in callers]
    for loop in loops:
        loop.start()
    until_s = time.monotonic() + BEGIN_LIMIT_S
    while not all(loop.begun for loop in loops) and time.monotonic() < until_s:
        time.sleep(0.01)
    time.sleep(WARM_UP_S)
    before, own_before, began_s = usage(order.mark), time.process_time(), time.perf_counter()
    time.sleep(order.seconds)
    after, own_after, ended_s = usage(order.mark), time.process_time(), time.perf_counter()
    stop.set()
    for loop in loops:
        loop.join()
        if loop.error is not None:
            raise loop.error
    answers = sorted(
        (end, end - begin) for loop in loops for begin, end in loop.answers if began_s <= end <= ended_s
    )
    if len(answers) < 2:
        raise RuntimeError(f"expected answers within {order.seconds:g} s and got {len(answers)}")
    return Load(
        latencies_ms=[latency_s * 1e3 for _end, latency_s in answers],
        answers_s=answers[-1][0] - answers[0][0],
        refused=sum(began_s <= at <= ended_s for loop in loops for at in loop.refused),
        window_s=ended_s - began_s,
        server_cpu_s=after.cpu_s - before.cpu_s,
        client_cpu_s=own_after - own_before,
        resident_mb=after.resident_mb,
    )


def _wait(caller: Caller, patience_s: float) -> None:
    until_s = time.monotonic() + patience_s
    while True:
        try:
            return caller()
        except NotServed:
            raise
        except Exception:  # not up yet; after the last try whatever it is
            if time.monotonic() > until_s:
                raise
        time.sleep(POLL_S)


def take_orders(caller_of: Callable[[Order, int], Caller]) -> None:
    """Answer every line of standard input until it ends."""
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = asdict(carry_out(Order(**json.loads(line)), caller_of))
        except Exception as exc:  # the process's edge: the benchmark decides
            answer = {
                "error": f"{type(exc).__name__}: {str(exc)[:400]}",
                "hopeless": isinstance(exc, NotServed),
            }
        print(json.dumps(answer), flush=True)
