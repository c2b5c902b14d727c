"""Shared memory over the wire: each caller has their own, and one who leaves mid-flight harms nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from appliance.callers import CallerRole, TokenFile
from appliance.pb import open_inference_pb2 as pb
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.simulators.appliance import Bench

WAIT_S = 30.0
SIZE = 4096
Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


def place(size: int, offset: int = 0) -> dict[str, pb.InferParameter]:
    return {
        "shared_memory_region": pb.InferParameter(string_param="r"),
        "shared_memory_byte_size": pb.InferParameter(int64_param=size),
        "shared_memory_offset": pb.InferParameter(int64_param=offset),
    }


def film_request(bench: Bench, size: int = SIZE) -> pb.ModelInferRequest:
    """A film in the message, its result into region r."""
    film = len(bench.film_png).to_bytes(4, "little") + bench.film_png
    return pb.ModelInferRequest(
        model_name="chest_xray",
        inputs=[Input(name="image", datatype="BYTES", shape=[1])],
        outputs=[Output(name="result", parameters=place(size))],
        raw_input_contents=[film],
    )


def register(
    stub: GRPCInferenceServiceStub, memory: Path, metadata: tuple[tuple[str, str], ...] = ()
) -> None:
    request = pb.SystemSharedMemoryRegisterRequest(name="r", key=memory.name, byte_size=SIZE)
    stub.SystemSharedMemoryRegister(request, timeout=WAIT_S, metadata=metadata)


def names(stub: GRPCInferenceServiceStub, metadata: tuple[tuple[str, str], ...] = ()) -> set[str]:
    request = pb.SystemSharedMemoryStatusRequest()
    return set(stub.SystemSharedMemoryStatus(request, timeout=WAIT_S, metadata=metadata).regions)


def test_callers_with_tokens_are_kept_apart(bench: Bench, memory_object: Path) -> None:
    memory_object.write_bytes(bytes(SIZE))
    tokens = TokenFile(bench.folder / "tokens.json")
    device = frozenset((CallerRole.DEVICE,))
    scanner = (("authorization", f"Bearer {tokens.add('scanner', device)}"),)
    microscope = (("authorization", f"Bearer {tokens.add('microscope', device)}"),)
    with grpc.insecure_channel(bench.serve()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        register(stub, memory_object, scanner)
        assert (names(stub, scanner), names(stub, microscope), names(stub)) == ({"r"}, set(), set())
        for other in (microscope, ()):
            with pytest.raises(grpc.RpcError, match="that you registered and got 'r'"):
                stub.ModelInfer(film_request(bench), timeout=WAIT_S, metadata=other)
            stub.SystemSharedMemoryUnregister(
                pb.SystemSharedMemoryUnregisterRequest(), timeout=WAIT_S, metadata=other
            )
        assert stub.ModelInfer(film_request(bench), timeout=WAIT_S, metadata=scanner).outputs
        assert memory_object.read_bytes()[4:5] == b"{"


def test_a_second_connection_of_the_same_caller_uses_the_region(bench: Bench, memory_object: Path) -> None:
    memory_object.write_bytes(bytes(SIZE))
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    address = bench.serve()
    with (
        grpc.insecure_channel(address, options=options) as first,
        grpc.insecure_channel(address, options=options) as second,
    ):
        register(GRPCInferenceServiceStub(first), memory_object)
        assert GRPCInferenceServiceStub(second).ModelInfer(film_request(bench), timeout=WAIT_S).outputs


def test_unregistered_unlinked_and_cut_short_while_a_request_is_under_way(
    bench: Bench, memory_object: Path
) -> None:
    memory_object.write_bytes(bytes(SIZE))
    with grpc.insecure_channel(bench.serve()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        register(stub, memory_object)
        bench.engines.gate.clear()
        call = stub.ModelInfer.future(film_request(bench), timeout=WAIT_S)
        assert bench.engines.begun.acquire(timeout=WAIT_S)
        stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(), timeout=WAIT_S)
        os.truncate(memory_object, 16)
        memory_object.unlink()
        bench.engines.gate.set()
        with pytest.raises(grpc.RpcError, match="it has shrunk since"):
            call.result(WAIT_S)
        memory_object.write_bytes(bytes(SIZE))
        register(stub, memory_object)
        assert stub.ModelInfer(film_request(bench), timeout=WAIT_S).outputs


def test_a_caller_who_dies_while_a_request_is_under_way(bench: Bench, memory_object: Path) -> None:
    memory_object.write_bytes(bytes(SIZE))
    address = bench.serve()
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(address, options=options)
    stub = GRPCInferenceServiceStub(channel)
    register(stub, memory_object)
    bench.engines.gate.clear()
    call = stub.ModelInfer.future(film_request(bench), timeout=WAIT_S)
    assert bench.engines.begun.acquire(timeout=WAIT_S)
    channel.close()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert bench.engines.left.wait(WAIT_S), "the request is given up"
    bench.engines.gate.set()
    assert memory_object.read_bytes() == bytes(SIZE), "nothing is written for a caller who has left"
    with grpc.insecure_channel(address, options=options) as channel:
        assert GRPCInferenceServiceStub(channel).ModelInfer(film_request(bench), timeout=WAIT_S).outputs
