"""A server over the simulated engines, and stubs for each service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest

from appliance.pb.appliance_pb2_grpc import ApplianceServiceStub
from appliance.pb.chest_xray_pb2_grpc import ChestXrayServiceStub
from appliance.pb.karyotype_pb2_grpc import KaryotypeServiceStub
from appliance.pb.result_pb2_grpc import ResultServiceStub
from tests.simulators.appliance import Bench

MESSAGE_BYTES = 256 << 20


@dataclass(frozen=True)
class Wire:
    """Both ends of it."""

    bench: Bench
    address: str
    channel: grpc.Channel
    karyotype: KaryotypeServiceStub
    chest_xray: ChestXrayServiceStub
    results: ResultServiceStub
    appliance: ApplianceServiceStub


def connect(bench: Bench, address: str) -> Wire:
    channel = grpc.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
        ],
    )
    return Wire(
        bench,
        address,
        channel,
        KaryotypeServiceStub(channel),
        ChestXrayServiceStub(channel),
        ResultServiceStub(channel),
        ApplianceServiceStub(channel),
    )


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with Bench(tmp_path_factory.mktemp("state")) as bench:
        wire = connect(bench, bench.serve())
        yield wire
        wire.channel.close()


@pytest.fixture(autouse=True)
def engines_as_they_were(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "wire" in request.fixturenames:
        engines = request.getfixturevalue("wire").bench.engines
        engines.gate.set()
        engines.fault = None
        engines.left.clear()
        while engines.begun.acquire(blocking=False):
            pass
