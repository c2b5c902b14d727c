"""A request has to arrive whole within a time: a caller who stalls in the middle holds no thread for ever.

gRPC gives a thread to a call as soon as its headers are there, and then waits for the message without an end,
for as long as the other side answers pings. So every call with one request is taken as a stream of requests,
which is the same on the wire, and whose first message can be waited for with a limit.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from appliance.errors import InvalidInput
from appliance.rpc.edge import Edge

LOG = logging.getLogger(__name__)
LOOKS = 4
"""How often within the limit the waiting calls are looked at."""


class Arrivals(grpc.ServerInterceptor):
    """Hangs up on calls whose request does not come.

    Args:
        edge: ends a call that came without a request.
        limit_s: how long a request may take to arrive, in seconds.
    """

    def __init__(self, edge: Edge, limit_s: float) -> None:
        self._edge = edge
        self._limit_s = limit_s
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._taken: dict[str, tuple[Any, Any]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arrivals", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler of a call, which waits for its request with a limit; streams wait as they like."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        method = handler_call_details.method
        before, taken = self._taken.get(method, (None, None))
        if before is not handler:
            taken = self._take(handler)
            self._taken[method] = handler, taken  # as many as there are calls
        return taken

    def _take(self, handler: Any) -> Any:
        inner = handler.unary_unary or handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )

        def taken(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            with self._expected(context):
                request = next(requests, None)
            if request is None:
                with self._edge.statuses(context):
                    raise InvalidInput("expected one request and got none")
            return inner(request, context)

        return make(taken, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _expected(self, context: grpc.ServicerContext) -> Iterator[None]:
        number = next(self._numbers)
        with self._lock:
            self._waiting[number] = time.monotonic() + self._limit_s, context
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _watch(self) -> None:
        while not self._closed.wait(self._limit_s / LOOKS):
            now_s = time.monotonic()
            with self._lock:
                late = [
                    (number, context)
                    for number, (until_s, context) in self._waiting.items()
                    if until_s < now_s
                ]
                for number, _ in late:
                    del self._waiting[number]
            for _, context in late:
                LOG.warning(
                    "a request did not arrive whole within %g s; its caller is hung up on", self._limit_s
                )
                context.cancel()
