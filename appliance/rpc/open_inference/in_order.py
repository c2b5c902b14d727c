"""The requests of one stream, several at a time, and the answers in the order of the requests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor


class _Answer:
    """The parts of one answer, as they come."""

    def __init__(self) -> None:
        self._parts: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()

    def fill(self, answer: Callable[[bytes], Iterator[bytes]], request: bytes) -> None:
        """Work, in a thread of its own."""
        try:
            for part in answer(request):
                self._parts.put(part)
        except Exception as error:  # raised again where the answer is read
            self._parts.put(error)
        self._parts.put(None)

    def parts(self) -> Iterator[bytes]:
        """Give the parts; whatever went wrong in the other thread is raised here."""
        while (part := self._parts.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part


def in_order(
    requests: Iterator[bytes],
    answer: Callable[[bytes], Iterator[bytes]],
    answered: Callable[[], None],
    pool: Executor,
    width: int,
) -> Iterator[bytes]:
    """Answer requests.

    Args:
        requests: may block, and may raise: what came before is answered first.
        answer: gives the parts of the answer to one request; called in other threads.
        answered: called after the last part of each answer has been taken.
        pool: has `width` + 1 threads for this stream.
        width: most requests under way, given answers that were not taken yet included.
    """
    answers: queue.SimpleQueue[_Answer | Exception | None] = queue.SimpleQueue()
    room = threading.Semaphore(width)
    left = threading.Event()

    def read() -> None:
        ended: Exception | None = None
        try:
            for request in requests:
                room.acquire()
                if left.is_set():
                    return
                one = _Answer()
                answers.put(one)
                pool.submit(one.fill, answer, request)
        except Exception as error:  # raised again in the stream's own thread
            ended = error
        answers.put(ended)

    pool.submit(read)
    try:
        while (one := answers.get()) is not None:
            if isinstance(one, Exception):
                raise one
            yield from one.parts()
            room.release()
            answered()
    finally:
        left.set()
        room.release()
