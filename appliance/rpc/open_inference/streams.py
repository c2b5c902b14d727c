"""Open streams of requests: how many there may be, and how they end when the daemon stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from appliance.errors import LimitExceeded, Unavailable

RETRY_S = 5.0


class OpenStream:
    """One stream: idle while all its requests are answered."""

    def __init__(self, context: grpc.ServicerContext, table: StreamTable) -> None:
        self._context = context
        self._table = table
        self.under_way = 0  # requests; the table's lock guards it

    def begin(self) -> None:
        """A request has come; Unavailable if the daemon is stopping."""
        self._table.begin(self)

    def end(self) -> None:
        """A request was answered; Unavailable if it was the last one and the daemon is stopping."""
        self._table.end(self)

    def end_if_idle(self) -> None:
        """Hang up, unless a request is being answered."""
        if not self.under_way:
            self._context.cancel()


class StreamTable:
    """The open streams; each one holds threads.

    Args:
        max_streams: most of them at a time.
    """

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._open: set[OpenStream] = set()
        self._dismissed = False

    @contextmanager
    def opened(self, context: grpc.ServicerContext) -> Iterator[OpenStream]:
        """A stream for the length of a `with` block; LimitExceeded if too many are open."""
        stream = OpenStream(context, self)
        with self._lock:
            if len(self._open) >= self._max_streams:
                raise LimitExceeded(
                    f"expected fewer than {self._max_streams} open streams and got {self._max_streams}",
                    retry_after_s=RETRY_S,
                )
            self._open.add(stream)
        try:
            yield stream
        finally:
            with self._lock:
                self._open.discard(stream)

    def begin(self, stream: OpenStream) -> None:
        """See `OpenStream.begin`."""
        with self._lock:
            if self._dismissed:
                raise Unavailable("the daemon is stopping; open the stream again later")
            stream.under_way += 1

    def end(self, stream: OpenStream) -> None:
        """See `OpenStream.end`."""
        with self._lock:
            stream.under_way -= 1
            if self._dismissed and not stream.under_way:
                raise Unavailable("the daemon is stopping; open the stream again later")

    def dismiss(self) -> None:
        """Hang up on idle streams; the others end when their answers are given."""
        with self._lock:
            self._dismissed = True
            for stream in self._open:
                stream.end_if_idle()
