"""The service before models are loaded, switched-off parts, and how streams end with the daemon."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import grpc
import pytest

from appliance.pb import open_inference_pb2 as pb
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from appliance.shared_memory import RegionLimits, RegionTable
from tests.simulators.appliance import Bench

WAIT_S = 30.0


def code_of(refused: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    assert isinstance(refused.value, grpc.Call)
    return refused.value.code().name


def test_without_models(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, grpc.insecure_channel(bench.serve()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(pb.ServerLiveRequest(), timeout=WAIT_S).live
        assert not stub.ServerReady(pb.ServerReadyRequest(), timeout=WAIT_S).ready
        assert not stub.ModelReady(pb.ModelReadyRequest(name="karyotype"), timeout=WAIT_S).ready
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=WAIT_S).models
        states = {one.name: one.state for one in index}
        assert states["karyotype.segmenter"] == "UNAVAILABLE"
        assert states["karyotype"] in {"LOADING", "UNAVAILABLE"}
        assert all(one.reason for one in index)
        assert not stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=WAIT_S).models
        assert stub.ModelMetadata(pb.ModelMetadataRequest(name="karyotype"), timeout=WAIT_S).inputs
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelMetadata(pb.ModelMetadataRequest(name="some-pack"), timeout=WAIT_S)
        assert code_of(refused) == "NOT_FOUND"


def test_shared_memory_that_is_switched_off(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.regions = RegionTable(RegionLimits(0, 1, 1, 1))
        with grpc.insecure_channel(bench.serve()) as channel:
            stub = GRPCInferenceServiceStub(channel)
            extensions = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=WAIT_S).extensions
            assert "system_shared_memory" not in extensions
            with pytest.raises(grpc.RpcError) as refused:
                stub.SystemSharedMemoryRegister(
                    pb.SystemSharedMemoryRegisterRequest(name="r", key="k", byte_size=1), timeout=WAIT_S
                )
            assert code_of(refused) == "UNIMPLEMENTED"


def test_a_stop_does_not_wait_for_an_idle_stream(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, grpc.insecure_channel(bench.serve()) as channel:
        requests: queue.SimpleQueue[pb.ModelInferRequest] = queue.SimpleQueue()
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests.get, None), timeout=WAIT_S)
        requests.put(pb.ModelInferRequest(model_name="nobody", id="1"))
        assert next(call).infer_response.id == "1"
        began_s = time.monotonic()
        bench.server.stop(WAIT_S)
        assert time.monotonic() - began_s < WAIT_S / 3
        with pytest.raises(grpc.RpcError):
            next(call)
        requests.put(pb.ModelInferRequest())


def test_an_inner_fault_in_a_stream_names_an_incident_and_the_stream_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Bench(tmp_path) as bench, grpc.insecure_channel(bench.serve()) as channel:
        bench.engines.fault = RuntimeError("a path of ours")
        tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        film = len(bench.film_png).to_bytes(4, "little") + bench.film_png
        request = pb.ModelInferRequest(model_name="chest_xray", inputs=[tensor], raw_input_contents=[film])
        stub = GRPCInferenceServiceStub(channel)
        first, second = stub.ModelStreamInfer(iter([request, request]), timeout=WAIT_S)
        assert "its log has incident" in first.error_message
        assert "its log has incident" in second.error_message
        assert "a path of ours" not in first.error_message
        bench.engines.fault = None
        (good,) = stub.ModelStreamInfer(iter([request]), timeout=WAIT_S)
        assert good.infer_response.outputs[0].name == "result"
    assert len([one for one in caplog.records if one.message == "unexpected error"]) == 2


def test_requests_of_one_stream_are_under_way_together(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, grpc.insecure_channel(bench.serve()) as channel:
        bench.engines.gate.clear()
        film = len(bench.film_png).to_bytes(4, "little") + bench.film_png
        tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        requests = [
            pb.ModelInferRequest(model_name=name, id=name, inputs=[tensor], raw_input_contents=[film])
            for name in ("chest_xray", "nobody", "chest_xray")
        ]
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests), timeout=WAIT_S)
        for _ in range(2):
            assert bench.engines.begun.acquire(timeout=WAIT_S)
        bench.engines.gate.set()
        answers = list(call)
        assert [answer.infer_response.id for answer in answers] == ["chest_xray", "nobody", "chest_xray"]
        assert [bool(answer.error_message) for answer in answers] == [False, True, False]


def test_a_caller_who_hangs_up_frees_the_slot(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, grpc.insecure_channel(bench.serve()) as channel:
        bench.engines.gate.clear()
        tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        film = len(bench.film_png).to_bytes(4, "little") + bench.film_png
        request = pb.ModelInferRequest(model_name="chest_xray", inputs=[tensor], raw_input_contents=[film])
        stub = GRPCInferenceServiceStub(channel)
        held = threading.Event()
        call = stub.ModelStreamInfer(iter([request]), timeout=WAIT_S)
        call.add_callback(held.set)
        assert bench.engines.begun.acquire(timeout=WAIT_S)
        call.cancel()
        assert bench.engines.left.wait(WAIT_S)
        assert held.wait(WAIT_S)
        bench.engines.gate.set()
        assert stub.ModelInfer(request, timeout=WAIT_S).outputs
        assert bench.store.status().results == 1, "nothing is stored for a caller who has left"
