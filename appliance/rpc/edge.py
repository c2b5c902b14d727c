"""Around every call: the caller's deadline and hang-up become a RequestContext, errors become statuses."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from appliance.clock import Deadline
from appliance.errors import ApplianceError
from appliance.inference import Priority, RequestContext
from appliance.rpc.identity import AUTHORIZATION
from appliance.rpc.statuses import kind_of, retry_after_ms, status_of, trailing_metadata

LOG = logging.getLogger(__name__)
CLIENT_ID_KEY = "client-id"
"""Metadata of a call without a token: the caller's own name, by which callers take turns."""

MAX_CLIENT_ID_CHARACTERS = 64


class Edge:
    """What all servicers share.

    Args:
        max_request_s: longest deadline in seconds, also for callers that set none.
    """

    def __init__(self, max_request_s: float) -> None:
        self._max_request_s = max_request_s

    @contextmanager
    def call(
        self,
        context: grpc.ServicerContext,
        priority: Priority = Priority.ROUTINE,
        *,
        unbounded: bool = False,
    ) -> Iterator[RequestContext]:
        """Give the request's context; whatever is raised inside ends the call with its status.

        Args:
            context: of gRPC.
            priority: place in the queues.
            unbounded: for a stream that goes on for as long as its caller wants.
        """
        with self.statuses(context):
            yield self._request_context(context, priority, unbounded)

    @contextmanager
    def statuses(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Whatever is raised inside ends the call with its status."""
        try:
            yield
        except ApplianceError as error:
            code = status_of(error)
            if code is grpc.StatusCode.INTERNAL:
                self._abort_with_incident(context)
            context.set_trailing_metadata(trailing_metadata(error))
            context.abort(code, str(error))
        except Exception:
            self._abort_with_incident(context)

    def explain(self, error: Exception) -> str:
        """What the caller of a stream is told about one failed request, where the call itself goes on."""
        if isinstance(error, ApplianceError) and status_of(error) is not grpc.StatusCode.INTERNAL:
            pause_ms = retry_after_ms(error)
            again = f"; try again in {pause_ms} ms" if pause_ms is not None else ""
            return f"{kind_of(error)}: {error}{again}"
        return self._log_incident()

    @property
    def max_request_s(self) -> float:
        """Longest deadline in seconds."""
        return self._max_request_s

    def _request_context(
        self, context: grpc.ServicerContext, priority: Priority, unbounded: bool
    ) -> RequestContext:
        patience_s = context.time_remaining()  # infinity where the caller set no deadline
        cancelled = threading.Event()
        if not context.add_callback(cancelled.set):
            cancelled.set()  # ended before it began
        deadline = Deadline.after(patience_s if unbounded else min(patience_s, self._max_request_s))
        return RequestContext(deadline, cancelled, priority, caller_of(context))

    def _abort_with_incident(self, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.INTERNAL, self._log_incident())

    def _log_incident(self) -> str:
        # what went wrong stays in the log: its text may hold paths or parts of the input
        incident = secrets.token_hex(4)
        LOG.exception("unexpected error", extra={"incident": incident})
        return f"the appliance failed on this request; its log has incident {incident}"


def caller_of(context: grpc.ServicerContext) -> str:
    """Who takes a turn in the queues: the token, the name that the caller gives itself, or the connection."""
    metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
    if AUTHORIZATION in metadata:  # proved already; what is a secret is not kept
        return "token " + hashlib.sha256(metadata[AUTHORIZATION].encode()).hexdigest()
    return metadata.get(CLIENT_ID_KEY, "")[:MAX_CLIENT_ID_CHARACTERS] or str(context.peer())
