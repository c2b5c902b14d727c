"""Taking requests apart by hand against protobuf's own parser: the same fields, or the same refusal."""

from __future__ import annotations

import itertools

import pytest

from appliance.errors import InvalidInput
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.wire import MAX_FIELDS, InferResponse, read_request
from tests.simulators.wire_fuzz import check_against_protobuf, fuzz_requests

EXAMPLES = 400


def test_any_bytes_are_read_as_protobuf_reads_them() -> None:
    fuzz_requests(EXAMPLES)


def test_every_short_frame_of_bytes_that_mean_something() -> None:
    # lengths of 0, 1 and 2, a length that goes on, raw contents, and their number with another wire type
    for length in range(7):
        for data in itertools.product(b"\x00\x01\x02\x38\x3a\x80", repeat=length):
            check_against_protobuf(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3a\x00",
        b"\x3a\x03abc\x3a\x00\x0a\x01m",
        b"\x0a\x01m\x3a\x03abc\x0a\x01n",  # the last one counts
        b"\x3a\x03ab",  # cut off
        b"\x3a",
        b"\x3a\xff\xff\xff\xff\xff",
        b"\x3a\xff\xff\xff\xff\x7f",
        b"\x3a\xff\xff\xff\xff\x07",
        b"\x3a\x83\x00abc",  # a length longer than need be
        b"\x3a\x83\x80\x80\x80\x00abc",
        b"\xba\x00\x01a",  # a tag longer than need be
        b"\x38\x05",  # raw contents as a number: unknown to protobuf
        b"\x3d\x05\x05\x05\x05",
        b"\x3b\x3c",  # a group
        b"\x3b\x3a\x01a\x3c\x3a\x01b",
        b"\x3b",
        b"\x3c",
        b"\x42\x01a\x3a\x01b",  # a field that nobody knows
        b"\x00\x01",
        b"\x02\x00",
        b"\x0a\x02\xff\xfe",  # a text that is no UTF-8
        b"\x3e\x00",
        b"\x3f\x00",
        b"\x3a\x01a\x00",
    ],
)
def test_rare_forms(data: bytes) -> None:
    check_against_protobuf(data)


def test_raw_contents_are_views_of_the_request() -> None:
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"a" * 4096, b"b"])
    data = message.SerializeToString()
    request = read_request(data)
    assert [one.obj is data for one in request.raw] == [True, True]
    assert [one.tobytes() for one in request.raw] == [b"a" * 4096, b"b"]
    assert not request.head.raw_input_contents


def test_a_flood_of_fields_is_refused_before_memory_is_taken_for_them() -> None:
    read_request(b"\x3a\x00" * MAX_FIELDS)
    with pytest.raises(InvalidInput, match=f"at most {MAX_FIELDS} fields"):
        read_request(b"\x3a\x00" * (MAX_FIELDS + 1))


@pytest.mark.parametrize("sizes", [(), (0,), (1, 0, 127, 128), (16383, 16384, 1 << 21)])
def test_a_response_is_what_protobuf_would_have_written(sizes: tuple[int, ...]) -> None:
    head = pb.ModelInferResponse(model_name="m", id="7", outputs=[{"name": "o", "shape": [1, 2]}])
    raw = tuple(memoryview(bytes([size % 251]) * size) for size in sizes)
    whole = pb.ModelInferResponse()
    whole.CopyFrom(head)
    whole.raw_output_contents.extend(one.tobytes() for one in raw)
    response = InferResponse(head, raw)
    assert response.to_bytes() == whole.SerializeToString()
    in_stream = pb.ModelStreamInferResponse(infer_response=whole)
    assert response.to_stream_bytes() == in_stream.SerializeToString()
