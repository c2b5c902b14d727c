"""ResultService: what was committed, one by one, in pages, or as it comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from appliance.errors import InvalidInput, LimitExceeded, Unavailable
from appliance.inference import RequestContext
from appliance.pb import result_pb2, result_pb2_grpc
from appliance.results import PageMark, ResultStore, Summary
from appliance.rpc.edge import Edge
from appliance.rpc.reading import read_modality, read_page_size, read_page_token, write_page_token
from appliance.rpc.writing import write_result, write_summary

WATCH_BATCH = 100
WATCH_PATIENCE_S = 1.0
"""How long a watcher sleeps at most before it looks whether its caller is still there."""

WATCHER_RETRY_S = 5.0


class ResultServicer(result_pb2_grpc.ResultServiceServicer):
    """Reads the store.

    Args:
        edge: shared by all servicers.
        store: the results.
        max_watchers: open WatchResults streams; each one holds a thread of the server.
    """

    def __init__(self, edge: Edge, store: ResultStore, max_watchers: int) -> None:
        self._edge = edge
        self._store = store
        self._max_watchers = max_watchers
        self._watchers = threading.BoundedSemaphore(max_watchers)

    def GetResult(
        self, request: result_pb2.GetResultRequest, context: grpc.ServicerContext
    ) -> result_pb2.GetResultResponse:
        """One result."""
        with self._edge.call(context):
            return result_pb2.GetResultResponse(result=write_result(self._store.get(request.result_id)))

    def ListResults(
        self, request: result_pb2.ListResultsRequest, context: grpc.ServicerContext
    ) -> result_pb2.ListResultsResponse:
        """A page of results, newest first."""
        with self._edge.call(context):
            size = read_page_size(request.page_size)
            found = self._store.page(
                size + 1, read_page_token(request.page_token), read_modality(request.modality)
            )
            return result_pb2.ListResultsResponse(
                results=[write_summary(summary) for summary in found[:size]],
                next_page_token=_next_page_token(found, size),
            )

    def WatchResults(
        self, request: result_pb2.WatchResultsRequest, context: grpc.ServicerContext
    ) -> Iterator[result_pb2.WatchResultsResponse]:
        """Results behind a cursor and then as they are committed."""
        with self._edge.call(context, unbounded=True) as call:
            if not self._watchers.acquire(blocking=False):
                raise LimitExceeded(
                    f"expected fewer than {self._max_watchers} watchers and got {self._max_watchers}",
                    retry_after_s=WATCHER_RETRY_S,
                )
            try:
                for summary in self._watch(request, call):
                    yield result_pb2.WatchResultsResponse(result=write_summary(summary))
            finally:
                self._watchers.release()

    def _watch(self, request: result_pb2.WatchResultsRequest, call: RequestContext) -> Iterator[Summary]:
        if request.only_new and request.after_cursor:
            raise InvalidInput(f"expected no cursor with only_new and got {request.after_cursor}")
        cursor = self._store.newest_cursor if request.only_new else request.after_cursor
        while True:
            call.check()
            batch = self._store.after(cursor, WATCH_BATCH)
            yield from batch
            if batch:
                cursor = batch[-1].cursor
            elif not self._store.wait_for_news(cursor, WATCH_PATIENCE_S) and self._store.dismissed:
                raise Unavailable("the daemon is stopping; watch again from the last cursor")


def _next_page_token(found: list[Summary], size: int) -> str:
    if len(found) <= size:
        return ""
    last = found[size - 1]
    return write_page_token(PageMark(last.created_ms, last.result_id))
