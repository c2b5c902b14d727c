"""Requests of one stream side by side: order, bounds, faults, and a reader who leaves."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.rpc.open_inference.in_order import in_order

WAIT_S = 30.0
WIDTH = 3


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WIDTH + 1) as pool:
        yield pool


class Work:
    """Answers with two parts; waits for the gate of the request's name, where there is one."""

    def __init__(self, *gated: bytes) -> None:
        self.gates = {name: threading.Event() for name in gated}
        self.begun: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.answered = 0

    def answer(self, request: bytes) -> Iterator[bytes]:
        self.begun.put(request)
        if request in self.gates:
            assert self.gates[request].wait(WAIT_S)
        if request == b"fault":
            raise ValueError("a fault")
        yield request + b"1"
        yield request + b"2"

    def count(self) -> None:
        self.answered += 1

    def run(self, requests: Iterator[bytes], pool: ThreadPoolExecutor) -> Iterator[bytes]:
        return in_order(requests, self.answer, self.count, pool, WIDTH)


def test_a_slow_answer_holds_back_the_later_ones_and_not_their_work(pool: ThreadPoolExecutor) -> None:
    work = Work(b"a")
    answers = work.run(iter([b"a", b"b", b"c"]), pool)
    taken: list[bytes] = []
    taker = threading.Thread(target=lambda: taken.extend(answers))
    taker.start()
    assert {work.begun.get(timeout=WAIT_S) for _ in range(3)} == {b"a", b"b", b"c"}
    assert taken == []
    work.gates[b"a"].set()
    taker.join(WAIT_S)
    assert taken == [b"a1", b"a2", b"b1", b"b2", b"c1", b"c2"]
    assert work.answered == 3


def test_no_more_are_taken_than_may_be_under_way(pool: ThreadPoolExecutor) -> None:
    work = Work()
    read: list[int] = []

    def requests() -> Iterator[bytes]:
        for number in range(20):
            read.append(number)
            yield str(number).encode()

    answers = work.run(requests(), pool)
    first = next(answers)
    assert first == b"01"
    for _ in range(WIDTH):
        work.begun.get(timeout=WAIT_S)
    # its answer is not taken whole, so the first one is under way still; one more waits in the reader's hand
    assert len(read) <= WIDTH + 1
    assert len(list(answers)) == 39
    assert work.answered == 20


def test_a_fault_comes_in_its_turn(pool: ThreadPoolExecutor) -> None:
    answers = Work().run(iter([b"a", b"fault", b"c"]), pool)
    assert [next(answers), next(answers)] == [b"a1", b"a2"]
    with pytest.raises(ValueError, match="a fault"):
        next(answers)


def test_what_came_before_a_broken_line_is_answered(pool: ThreadPoolExecutor) -> None:
    def requests() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionError("gone")

    answers = Work().run(requests(), pool)
    assert [next(answers), next(answers)] == [b"a1", b"a2"]
    with pytest.raises(ConnectionError):
        next(answers)


def test_who_leaves_frees_the_reader(pool: ThreadPoolExecutor) -> None:
    work = Work()
    ended = threading.Event()

    def requests() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            ended.set()

    answers = work.run(requests(), pool)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    pool.shutdown(wait=True)
    del answers
    assert ended.wait(WAIT_S)


def test_no_requests(pool: ThreadPoolExecutor) -> None:
    assert list(Work().run(iter([]), pool)) == []
