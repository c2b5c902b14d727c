"""Requests as bytes on the wire, wrong in every way there is, against a real daemon that lives on."""

from __future__ import annotations

import contextlib
import os
import queue
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from appliance.client import LocalDaemon
from appliance.pb import open_inference_pb2 as pb
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.rpc.open_inference.conftest import MAX_REGIONS, MAX_STREAMS

WAIT_S = 60.0
CLASSIFIER = "karyotype-classifier"
CROP_BYTES = 128 * 96 * 4
Input = pb.ModelInferRequest.InferInputTensor


def crops(count: int = 1, **changes: object) -> pb.ModelInferRequest:
    """A good request for the classifier, or one with fields of its input changed."""
    fields: dict[str, object] = {"name": "crops", "datatype": "FP32", "shape": [count, 1, 128, 96]}
    tensor = Input(**(fields | changes))  # type: ignore[arg-type]
    return pb.ModelInferRequest(
        model_name=CLASSIFIER, inputs=[tensor], raw_input_contents=[bytes(count * CROP_BYTES)]
    )


def image(*contents: bytes, shape: tuple[int, ...] = (1,)) -> pb.ModelInferRequest:
    tensor = Input(name="image", datatype="BYTES", shape=shape)
    return pb.ModelInferRequest(model_name="chest_xray", inputs=[tensor], raw_input_contents=contents)


def edited(request: pb.ModelInferRequest, **changes: object) -> pb.ModelInferRequest:
    """With fields of the message replaced."""
    changed = pb.ModelInferRequest()
    changed.CopyFrom(request)
    for name, value in changes.items():
        changed.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(changed, name).extend(value)
        else:
            setattr(changed, name, value)
    return changed


def with_parameter(request: pb.ModelInferRequest, name: str, **value: object) -> pb.ModelInferRequest:
    request.parameters[name].CopyFrom(pb.InferParameter(**value))  # type: ignore[arg-type]
    return request


def in_region(
    region: str, size: int, offset: int | None = None, count: int = 1, **more: str
) -> pb.ModelInferRequest:
    request = edited(crops(count), raw_input_contents=[])
    parameters = request.inputs[0].parameters
    parameters["shared_memory_region"].string_param = region
    parameters["shared_memory_byte_size"].int64_param = size
    if offset is not None:
        parameters["shared_memory_offset"].int64_param = offset
    for name, value in more.items():
        parameters[name].string_param = value
    return request


def refusal(stub: GRPCInferenceServiceStub, request: pb.ModelInferRequest) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request, timeout=WAIT_S)
    assert isinstance(refused.value, grpc.Call)
    return refused.value.code().name, str(refused.value.details())


def output(name: str) -> pb.ModelInferRequest.InferRequestedOutputTensor:
    return pb.ModelInferRequest.InferRequestedOutputTensor(name=name)


CLASSIFIED = pb.ModelInferRequest.InferRequestedOutputTensor(
    name="class_logits", parameters={"classification": pb.InferParameter(int64_param=3)}
)
TYPED = pb.InferTensorContents(fp32_contents=[0.0] * (128 * 96))
WRONG = {
    "no inputs": (edited(crops(), inputs=[]), "expected inputs crops, each once"),
    "unknown input": (
        crops(name="crop"),
        "expected inputs crops, each once, for karyotype-classifier and got crop",
    ),
    "input twice": (edited(crops(), inputs=list(crops().inputs) * 2), "each once"),
    "datatype": (crops(datatype="FP16"), "input 'crops': expected datatype FP32 and got 'FP16'"),
    "datatype of nobody": (crops(datatype="FP8"), "expected datatype FP32 and got 'FP8'"),
    "rank": (crops(shape=[1, 128, 96]), "expected shape [1..128,1,128,96] and got [1,128,96]"),
    "side": (crops(shape=[1, 1, 128, 97]), "expected shape [1..128,1,128,96] and got [1,1,128,97]"),
    "negative": (crops(shape=[-1, 1, 128, 96]), "and got [-1,1,128,96]"),
    "empty batch": (crops(shape=[0, 1, 128, 96]), "and got [0,1,128,96]"),
    "batch too large": (crops(shape=[129, 1, 128, 96]), "and got [129,1,128,96]"),
    "overflow": (crops(shape=[1 << 62, 1, 128, 96]), "expected shape [1..128,1,128,96]"),
    "thousand dimensions": (crops(shape=[1] * 1000), ",…]"),
    "too few bytes": (
        edited(crops(), raw_input_contents=[bytes(CROP_BYTES - 1)]),
        f"input 'crops': expected {CROP_BYTES} bytes for FP32 [1, 1, 128, 96] and got {CROP_BYTES - 1}",
    ),
    "too many bytes": (edited(crops(), raw_input_contents=[bytes(CROP_BYTES + 4)]), f"got {CROP_BYTES + 4}"),
    "no bytes": (edited(crops(), raw_input_contents=[b""]), "and got 0"),
    "nothing": (edited(crops(), raw_input_contents=[]), "expected elements in raw_input_contents"),
    "two for one": (edited(crops(), raw_input_contents=[b"", b""]), "expected 1 raw_input_contents"),
    "raw and typed": (crops(contents=TYPED), "expected raw or typed elements and got both"),
    "typed, too few": (
        edited(crops(contents=pb.InferTensorContents(fp32_contents=[1.0])), raw_input_contents=[]),
        "expected 12288 elements in fp32_contents and got 1",
    ),
    "typed, another kind": (
        edited(crops(contents=pb.InferTensorContents(int_contents=[1])), raw_input_contents=[]),
        "fp32_contents and got int_contents",
    ),
    "unknown output": (
        edited(crops(), outputs=[output("boxes")]),
        "expected outputs of class_logits, polarity_logit",
    ),
    "output twice": (edited(crops(), outputs=[output("class_logits")] * 2), "each at most once"),
    "parameter without value": (with_parameter(crops(), "priority"), "expected a value and got none"),
    "priority of words": (
        with_parameter(crops(), "priority", string_param="high"),
        "a whole number of 0 or more",
    ),
    "negative timeout": (
        with_parameter(crops(), "timeout", int64_param=-1),
        "a whole number of 0 or more and got '-1'",
    ),
    "two images": (
        image(struct.pack("<I", 0) * 2, shape=(2,)),
        "input 'image': expected shape [1] and got [2]",
    ),
    "half a length": (image(b"\1\0"), "expected a length of 4 bytes before element 0 and got 2 bytes"),
    "length beyond the end": (
        image(struct.pack("<I", 99) + b"abc"),
        "expected 99 bytes in element 0 and got 3",
    ),
    "more after the end": (
        image(struct.pack("<I", 1) + b"abc"),
        "expected 1 elements and nothing after them",
    ),
    "empty image tensor": (image(b""), "expected 1 elements and nothing after them and got 0"),
    "empty image": (image(struct.pack("<I", 0)), "expected an image and got 0 bytes"),
    "flag of words": (
        with_parameter(image(struct.pack("<I", 1) + b"a"), "overlay", string_param="yes"),
        "parameter overlay: expected true or false and got 'yes'",
    ),
    "size of words": (
        with_parameter(image(struct.pack("<I", 1) + b"a"), "pixel_size_um", string_param="small"),
        "parameter pixel_size_um: expected a number and got 'small'",
    ),
    "size that is none": (
        with_parameter(image(struct.pack("<I", 1) + b"a"), "pixel_size_um", double_param=float("nan")),
        "parameter pixel_size_um: expected a number",
    ),
    "region without size": (
        edited(
            crops(parameters={"shared_memory_region": pb.InferParameter(string_param="r")}),
            raw_input_contents=[],
        ),
        "expected shared_memory_byte_size beside shared_memory_region",
    ),
    "region that is a number": (
        edited(
            crops(parameters={"shared_memory_region": pb.InferParameter(int64_param=1)}),
            raw_input_contents=[],
        ),
        "expected the name of a region",
    ),
    "a flood of empty contents": (
        edited(crops(), raw_input_contents=[b""] * 5000),
        "expected a request of at most 4096 fields and got more",
    ),
    "raw beside a region": (
        edited(in_region("r", CROP_BYTES), raw_input_contents=[b"abc"]),
        "expected 0 raw_input_contents, one for each input outside shared memory, and got 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request(case: str, stub: GRPCInferenceServiceStub) -> None:
    request, words = WRONG[case]
    code, sentence = refusal(stub, request)
    assert code == "INVALID_ARGUMENT", sentence
    assert words in sentence


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (edited(crops(), model_name="nobody"), "NOT_FOUND"),
        (edited(crops(), model_name=""), "NOT_FOUND"),
        (edited(crops(), model_version="2"), "NOT_FOUND"),
        (in_region("nobody", CROP_BYTES), "NOT_FOUND"),
        (edited(crops(), outputs=[CLASSIFIED]), "UNIMPLEMENTED"),
        (with_parameter(crops(), "sequence_id", int64_param=4), "UNIMPLEMENTED"),
        (with_parameter(crops(), "timeout", int64_param=1), "DEADLINE_EXCEEDED"),
    ],
)
def test_other_refusals(request_: pb.ModelInferRequest, code: str, stub: GRPCInferenceServiceStub) -> None:
    assert refusal(stub, request_)[0] == code


def test_typed_elements(stub: GRPCInferenceServiceStub) -> None:
    numbers = pb.InferTensorContents(fp32_contents=[0.25] * (128 * 96))
    typed = stub.ModelInfer(edited(crops(contents=numbers), raw_input_contents=[]), timeout=WAIT_S)
    raw = np.full(128 * 96, 0.25, "<f4").tobytes()
    assert (
        typed.raw_output_contents
        == stub.ModelInfer(edited(crops(), raw_input_contents=[raw]), timeout=WAIT_S).raw_output_contents
    )
    assert [list(one.shape) for one in typed.outputs] == [[1, 24], [1, 1]]


def test_no_number_is_the_models_to_answer(stub: GRPCInferenceServiceStub) -> None:
    raw = np.full(128 * 96, np.nan, "<f4").tobytes()
    answer = stub.ModelInfer(edited(crops(), raw_input_contents=[raw]), timeout=WAIT_S)
    assert np.isnan(np.frombuffer(answer.raw_output_contents[1], "<f4")).all()


def register(stub: GRPCInferenceServiceStub, name: str, key: str, size: int, offset: int = 0) -> None:
    request = pb.SystemSharedMemoryRegisterRequest(name=name, key=key, byte_size=size, offset=offset)
    stub.SystemSharedMemoryRegister(request, timeout=WAIT_S)


@pytest.fixture
def region(stub: GRPCInferenceServiceStub, memory_object: Path) -> Iterator[Path]:
    """A region "crops" with two crops in it."""
    memory_object.write_bytes(np.full(2 * 128 * 96, 0.25, "<f4").tobytes())
    register(stub, "crops", "/" + memory_object.name, 2 * CROP_BYTES)
    yield memory_object
    stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(), timeout=WAIT_S)


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("size", "offset", "words"),
    [
        (CROP_BYTES - 4, 0, f"expected {CROP_BYTES} bytes for FP32"),
        (CROP_BYTES, CROP_BYTES + 1, f"and got {CROP_BYTES} bytes at offset {CROP_BYTES + 1}"),
        (CROP_BYTES, 1 << 62, "expected a place inside"),
        (CROP_BYTES, -4, "a whole number of 0 or more"),
        (-1, 0, "a whole number of 0 or more"),
    ],
)
def test_a_wrong_place(stub: GRPCInferenceServiceStub, size: int, offset: int, words: str) -> None:
    code, sentence = refusal(stub, in_region("crops", size, offset))
    assert code == "INVALID_ARGUMENT"
    assert words in sentence


@pytest.mark.usefixtures("region")
def test_a_place_that_is_not_aligned(stub: GRPCInferenceServiceStub) -> None:
    answer = stub.ModelInfer(in_region("crops", CROP_BYTES, 3), timeout=WAIT_S)
    assert len(answer.raw_output_contents[0]) == 24 * 4


def test_an_object_that_shrinks_or_goes(stub: GRPCInferenceServiceStub, region: Path) -> None:
    os.truncate(region, CROP_BYTES)
    assert stub.ModelInfer(in_region("crops", CROP_BYTES), timeout=WAIT_S).outputs
    code, sentence = refusal(stub, in_region("crops", CROP_BYTES, CROP_BYTES))
    assert (code, "has shrunk" in sentence) == ("INVALID_ARGUMENT", True)
    region.unlink()  # whoever has it open keeps it
    assert stub.ModelInfer(in_region("crops", CROP_BYTES), timeout=WAIT_S).outputs


def test_too_many_regions(stub: GRPCInferenceServiceStub, region: Path) -> None:
    for index in range(MAX_REGIONS - 1):
        register(stub, f"more {index}", region.name, 16)
    with pytest.raises(grpc.RpcError) as refused:
        register(stub, "one more", region.name, 16)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("key", ["../etc/passwd", "/../etc/passwd", "..", "/", "", "a/b", "//a", "a\0b"])
def test_a_key_that_leads_elsewhere(stub: GRPCInferenceServiceStub, key: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        register(stub, "x", key, 16)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class Talk:
    """A stream that stays open until it is left."""

    def __init__(self, stub: GRPCInferenceServiceStub) -> None:
        self._requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
        self.call = stub.ModelStreamInfer(iter(self._requests.get, None), timeout=WAIT_S)

    def ask(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        self._requests.put(request)
        answer: pb.ModelStreamInferResponse = next(self.call)
        return answer

    def leave(self) -> None:
        self._requests.put(None)
        self.call.cancel()


def test_streams_beyond_the_bound(stub: GRPCInferenceServiceStub) -> None:
    talks = [Talk(stub) for _ in range(MAX_STREAMS)]
    try:
        for talk in talks:
            assert talk.ask(crops()).infer_response.outputs
        late = Talk(stub)
        with pytest.raises(grpc.RpcError) as refused:
            late.ask(crops())
        assert isinstance(refused.value, grpc.Call)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        late.leave()
        assert stub.ModelInfer(crops(), timeout=WAIT_S).outputs  # calls of other kinds have their own threads
    finally:
        for talk in talks:
            talk.leave()


def test_a_thousand_streams_at_once_are_answered_or_refused(
    daemon: LocalDaemon, stub: GRPCInferenceServiceStub
) -> None:
    with grpc.insecure_channel(daemon.address) as channel:
        mine = GRPCInferenceServiceStub(channel)
        streams = [mine.ModelStreamInfer(iter([crops()]), timeout=WAIT_S) for _ in range(1000)]
        for stream in streams:
            with contextlib.suppress(grpc.RpcError):
                list(stream)
        codes = [stream.code() for stream in streams]
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert grpc.StatusCode.OK in codes
    assert stub.ModelInfer(crops(), timeout=WAIT_S).outputs


def test_an_error_in_a_stream_carries_the_id(stub: GRPCInferenceServiceStub) -> None:
    (answer,) = stub.ModelStreamInfer(iter([edited(crops(), model_name="nobody", id="9")]), timeout=WAIT_S)
    assert answer.error_message.startswith("NOT_FOUND: expected one of the models")
    assert (answer.infer_response.id, answer.infer_response.model_name) == ("9", "nobody")


@pytest.mark.parametrize("data", [b"\xff" * 64, b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x3a\x85"])
def test_bytes_that_are_no_message(
    channel: grpc.Channel, stub: GRPCInferenceServiceStub, data: bytes
) -> None:
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        call(data, timeout=WAIT_S)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"expected a ModelInferRequest message and got {len(data)} bytes" in str(refused.value.details())
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=WAIT_S).live


def test_a_stream_survives_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    broken, good = call(iter([b"\xff" * 64, crops().SerializeToString()]), timeout=WAIT_S)
    assert pb.ModelStreamInferResponse.FromString(broken).error_message.startswith("INVALID_INPUT: ")
    assert pb.ModelStreamInferResponse.FromString(good).infer_response.outputs


def test_the_packs_own_version_is_a_parameter(stub: GRPCInferenceServiceStub) -> None:
    response = stub.ModelInfer(edited(crops(), model_version="1"), timeout=WAIT_S)

    assert response.model_version == "1"
    assert response.parameters["pack_version"].string_param == "0.0.1"


def test_forgetting_all_cuda_regions_of_none_succeeds(stub: GRPCInferenceServiceStub) -> None:
    stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(), timeout=WAIT_S)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(name="mine"), timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
