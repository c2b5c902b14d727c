"""Clients that connect and stall, in every place where one can: the server frees what they held and lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from appliance.pb import open_inference_pb2 as pb
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from appliance.rpc import ServerLimits
from tests.simulators.appliance import LIMITS, Bench
from tests.simulators.half_open import HalfOpen

WAIT_S = 30.0
SERVICE = "/inference.GRPCInferenceService/"
QUICK = replace(LIMITS, workers=2, max_waiting=1, max_watchers=1, max_streams=1, arrival_s=0.4)
CALLS = 12
"""More than that server has threads for."""

Serve = Callable[[ServerLimits], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with Bench(tmp_path) as bench:
        yield bench.serve


def until_it_answers(address: str, call: Callable[[GRPCInferenceServiceStub], object]) -> None:
    """Ask until the server has room; its refusal if it has none for WAIT_S."""
    until_s = time.monotonic() + WAIT_S
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        while True:
            try:
                call(stub)
            except grpc.RpcError as refused:
                if "RESOURCE_EXHAUSTED" not in str(refused) or time.monotonic() > until_s:
                    raise
            else:
                return


def live(stub: GRPCInferenceServiceStub) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=WAIT_S).live


def one_stream(stub: GRPCInferenceServiceStub) -> None:
    (answer,) = stub.ModelStreamInfer(iter([pb.ModelInferRequest(model_name="nobody")]), timeout=WAIT_S)
    assert answer.error_message.startswith("NOT_FOUND")


def test_a_client_that_says_nothing_is_hung_up_on(serve: Serve) -> None:
    address = serve(replace(QUICK, handshake_s=0.5))
    with HalfOpen(address.removeprefix("unix:"), WAIT_S) as client:
        client.wait_for_hang_up()
    until_it_answers(address, live)


@pytest.mark.parametrize(("message_bytes", "sent"), [(None, b""), (1 << 20, b""), (1 << 20, b"\x0a\x05abc")])
def test_half_requests_do_not_hold_the_threads(serve: Serve, message_bytes: int | None, sent: bytes) -> None:
    address = serve(QUICK)
    with HalfOpen(address.removeprefix("unix:"), WAIT_S) as client:
        client.greet()
        calls = {client.begin(SERVICE + "ModelInfer", message_bytes, sent) for _ in range(CALLS)}
        client.wait_for_end(calls)
        until_it_answers(address, live)


def test_a_client_that_vanished_without_a_word_loses_its_stream(serve: Serve) -> None:
    address = serve(replace(QUICK, keepalive_s=1.0, keepalive_timeout_s=0.5))
    with HalfOpen(address.removeprefix("unix:"), WAIT_S) as client:
        client.greet()
        client.begin(SERVICE + "ModelStreamInfer")
        client.wait_for_hang_up()  # it never answers a ping
    until_it_answers(address, one_stream)


def test_a_call_without_a_request(serve: Serve) -> None:
    address = serve(QUICK)
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(SERVICE + "ServerLive")
        with pytest.raises(grpc.RpcError, match="expected one request and got none") as refused:
            call(iter([]), timeout=WAIT_S)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_rubbish_instead_of_http(serve: Serve) -> None:
    address = serve(QUICK)
    for rubbish in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        bytes(9) * 100,
        b"PRI * HTTP/2.0",
    ):
        with HalfOpen(address.removeprefix("unix:"), WAIT_S) as client:
            client.send(rubbish)
    until_it_answers(address, live)
