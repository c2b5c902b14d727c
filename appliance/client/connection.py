"""Calls to a daemon as plain methods; what the daemon refuses is raised with its own words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import grpc

from appliance.client.credentials import WithToken
from appliance.errors import ApplianceError
from appliance.pb import (
    analysis_pb2,
    appliance_pb2,
    appliance_pb2_grpc,
    chest_xray_pb2,
    chest_xray_pb2_grpc,
    karyotype_pb2,
    karyotype_pb2_grpc,
    result_pb2,
    result_pb2_grpc,
)

KIND_KEY = "appliance-error"
"""Trailing metadata with the kind of error, as the daemon names it."""

MAX_MESSAGE_BYTES = 1 << 30
QUICK_S = 10.0
POLL_S = 0.05
RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.5s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
"""A busy daemon is asked again by gRPC itself, after the pause that the daemon names."""


class CallError(ApplianceError):
    """The daemon answered with an error, or did not answer."""

    def __init__(self, message: str, status: str, kind: str) -> None:
        super().__init__(message)
        self.status = status  # gRPC's name, for example INVALID_ARGUMENT
        self.kind = kind  # the daemon's name, for example CORRUPT_IMAGE; empty if it named none


class ApplianceClient:
    """One channel to one daemon.

    Args:
        address: HOST:PORT or unix:/PATH.
        token: of the caller, where the daemon wants one.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
                ("grpc.service_config", json.dumps(RETRIES)),
                # a daemon that is just starting shall be found soon
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        if token is not None:
            self._channel = grpc.intercept_channel(self._channel, WithToken(token))
        self._karyotype = karyotype_pb2_grpc.KaryotypeServiceStub(self._channel)
        self._chest_xray = chest_xray_pb2_grpc.ChestXrayServiceStub(self._channel)
        self._results = result_pb2_grpc.ResultServiceStub(self._channel)
        self._appliance = appliance_pb2_grpc.ApplianceServiceStub(self._channel)

    def __enter__(self) -> ApplianceClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def channel(self) -> grpc.Channel:
        """For the stubs of further services."""
        return self._channel

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def analyze_metaphase(
        self, request: karyotype_pb2.AnalyzeMetaphaseRequest, timeout_s: float
    ) -> karyotype_pb2.AnalyzeMetaphaseResponse:
        """Analyse one metaphase image; CallError with the daemon's reason if it cannot."""
        with call_errors(self.address):
            return self._karyotype.AnalyzeMetaphase(request, timeout=timeout_s)

    def analyze_chest_film(
        self, request: chest_xray_pb2.AnalyzeChestXrayRequest, timeout_s: float
    ) -> chest_xray_pb2.AnalyzeChestXrayResponse:
        """Analyse one chest film; CallError with the daemon's reason if it cannot."""
        with call_errors(self.address):
            return self._chest_xray.AnalyzeChestXray(request, timeout=timeout_s)

    def status(self, timeout_s: float = QUICK_S) -> appliance_pb2.GetStatusResponse:
        """How the box is."""
        with call_errors(self.address):
            return self._appliance.GetStatus(appliance_pb2.GetStatusRequest(), timeout=timeout_s)

    def self_test(self, timeout_s: float) -> appliance_pb2.RunSelfTestResponse:
        """Let the box test itself."""
        with call_errors(self.address):
            return self._appliance.RunSelfTest(appliance_pb2.RunSelfTestRequest(), timeout=timeout_s)

    def get_result(self, result_id: str) -> analysis_pb2.Result:
        """One stored result."""
        with call_errors(self.address):
            request = result_pb2.GetResultRequest(result_id=result_id)
            return self._results.GetResult(request, timeout=QUICK_S).result

    def results(
        self, modality: analysis_pb2.Modality.ValueType = analysis_pb2.MODALITY_UNSPECIFIED
    ) -> Iterator[result_pb2.ResultSummary]:
        """All stored results, newest first, fetched a page at a time."""
        token = ""
        while True:
            request = result_pb2.ListResultsRequest(page_token=token, modality=modality)
            with call_errors(self.address):
                page = self._results.ListResults(request, timeout=QUICK_S)
            yield from page.results
            token = page.next_page_token
            if not token:
                return

    def wait_until_started(
        self, timeout_s: float, still_running: Callable[[], bool] = lambda: True
    ) -> appliance_pb2.GetStatusResponse:
        """Wait until the daemon has tried to load every model, and return its status.

        Args:
            timeout_s: how long; the first build of engines on a new box can take minutes.
            still_running: False ends the wait early, because the daemon has gone.

        Raises:
            CallError: it did not start in time, or it has gone.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                status = self.status(timeout_s=QUICK_S)
                if not status.starting:
                    return status
            except CallError as exc:
                if exc.status != grpc.StatusCode.UNAVAILABLE.name:
                    raise
            if not still_running() or time.monotonic() > until_s:
                raise CallError(
                    f"expected the daemon at {self.address} to start within {timeout_s:.0f} s and it did not",
                    grpc.StatusCode.UNAVAILABLE.name,
                    "",
                )
            time.sleep(POLL_S)


@contextmanager
def call_errors(address: str) -> Iterator[None]:
    """What gRPC raises inside becomes a CallError with the daemon's own words."""
    try:
        yield
    except grpc.RpcError as exc:
        status, details, kind = grpc.StatusCode.UNKNOWN, str(exc), ""
        if isinstance(exc, grpc.Call):
            status, details = exc.code(), exc.details() or ""
            kind = dict(exc.trailing_metadata() or ()).get(KIND_KEY, "")
        if status is grpc.StatusCode.UNAVAILABLE and not kind:
            details = f"no daemon answers at {address}"
        raise CallError(details, status.name, str(kind)) from exc
