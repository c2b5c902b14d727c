"""The server itself: health, reflection, status, bounds, addresses, and how it stops."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from appliance import __version__
from appliance.errors import ConfigurationError
from appliance.pb.appliance_pb2 import (
    MODEL_STATE_UNAVAILABLE,
    GetStatusRequest,
    ListModelsRequest,
    RunSelfTestRequest,
)
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.rpc import RpcServer
from appliance.rpc.readiness import KARYOTYPE, OVERALL
from appliance.rpc.server import SERVICE_NAMES
from tests.rpc.conftest import Wire, connect
from tests.simulators.appliance import LIMITS, Bench, film_png, spread_png

WAIT_S = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(wire: Wire, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(wire.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT_S).status)


def test_health_follows_readiness(wire: Wire) -> None:
    assert health(wire) == SERVING
    assert health(wire, KARYOTYPE) == SERVING
    wire.bench.server.set_serving(frozenset({KARYOTYPE}))
    assert health(wire) == NOT_SERVING
    assert health(wire, KARYOTYPE) == SERVING
    wire.bench.server.set_serving(frozenset({OVERALL, *SERVICE_NAMES}))
    assert health(wire) == SERVING


def test_reflection_lists_every_service(wire: Wire) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=WAIT_S)
    names = {service.name for service in answer.list_services_response.service}
    assert names == {
        "appliance.v1.KaryotypeService",
        "appliance.v1.ChestXrayService",
        "appliance.v1.ResultService",
        "appliance.v1.CaseService",
        "appliance.v1.ReviewService",
        "appliance.v1.ApplianceService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_status_says_what_is_wrong(wire: Wire) -> None:
    status = wire.appliance.GetStatus(GetStatusRequest(), timeout=WAIT_S)
    assert status.version == __version__
    assert not status.ready
    assert len(status.problems) == 4
    assert "karyotype.detector is unavailable" in " ".join(status.problems)
    assert {model.state for model in status.models} == {MODEL_STATE_UNAVAILABLE}
    assert status.storage.limit_bytes == 64 << 20
    models = wire.appliance.ListModels(ListModelsRequest(), timeout=WAIT_S).models
    assert [model.role for model in models] == [model.role for model in status.models]


def test_the_self_test_fails_without_models_and_passes_for_the_storage(wire: Wire) -> None:
    answer = wire.appliance.RunSelfTest(RunSelfTestRequest(), timeout=WAIT_S)
    assert not answer.passed
    passed = {check.name: check.passed for check in answer.checks}
    assert passed.pop("storage")
    assert len(passed) == 4
    assert not any(passed.values())


def test_requests_beyond_the_bound_are_refused_and_the_rest_answered(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        wire = connect(bench, bench.serve())
        bench.engines.gate.clear()
        request = AnalyzeChestXrayRequest(encoded=film_png())
        calls = [wire.chest_xray.AnalyzeChestXray.future(request, timeout=WAIT_S) for _ in range(40)]
        refused = threading.Semaphore(0)
        for call in calls:
            call.add_done_callback(lambda _call: refused.release())
        assert refused.acquire(timeout=WAIT_S)
        bench.engines.gate.set()
        codes = [call.code() for call in calls]
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert codes.count(grpc.StatusCode.OK) >= LIMITS.workers + LIMITS.max_waiting
        refused_calls = [call for call in calls if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
        hinted = [dict(call.trailing_metadata()) for call in refused_calls if call.trailing_metadata()]
        assert hinted
        assert all(int(metadata["grpc-retry-pushback-ms"]) > 0 for metadata in hinted)
        assert all("grpc-status-details-bin" in metadata for metadata in hinted)
        assert wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S).film.findings
        wire.channel.close()


def test_a_stop_lets_requests_under_way_finish(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        wire = connect(bench, bench.serve())
        bench.engines.gate.clear()
        call = wire.karyotype.AnalyzeMetaphase.future(
            AnalyzeMetaphaseRequest(encoded=spread_png()), timeout=WAIT_S
        )
        assert bench.engines.begun.acquire(timeout=WAIT_S)
        stopper = threading.Thread(target=bench.server.stop, args=(WAIT_S,))
        stopper.start()
        bench.engines.gate.set()
        assert call.result().spread.count > 0
        stopper.join(WAIT_S)
        assert not stopper.is_alive()
        wire.channel.close()


def test_an_address_in_use(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"cannot listen on {address}"):
            RpcServer(bench.services(), LIMITS, [address])


def test_a_socket_left_behind_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        path = tmp_path / "test.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        wire = connect(bench, bench.serve())
        assert wire.appliance.GetStatus(GetStatusRequest(), timeout=WAIT_S)
        wire.channel.close()
        (tmp_path / "file").write_text("mine")
        services = bench.services()
        with pytest.raises(ConfigurationError, match="expected a socket or nothing"):
            RpcServer(services, LIMITS, [f"unix:{tmp_path / 'file'}"])
        assert (tmp_path / "file").read_text() == "mine"
