"""Requests of every kind of wrongness, read by hand and by protobuf: a test for seconds, a script for hours.

`python -m tests.simulators.wire_fuzz 600` looks for ten minutes.
"""

from __future__ import annotations

import sys
import time

from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.wire import read_request

ROUND = 2000


def check_against_protobuf(data: bytes) -> None:
    """The same fields, or the same refusal."""
    try:
        wanted = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        wanted = None
    try:
        got = read_request(data)
    except InvalidInput:
        assert wanted is None, f"{data!r}: protobuf reads it, we refuse it"
        return
    assert wanted is not None, f"{data!r}: protobuf refuses it, we read it"
    assert [one.tobytes() for one in got.raw] == list(wanted.raw_input_contents), data
    del wanted.raw_input_contents[:]
    assert got.head.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True), (
        data
    )


def varint(number: int, spare: int = 0) -> bytes:
    """A number on the wire, with `spare` bytes more than it needs."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    groups += [0] * spare
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


varints = st.builds(
    varint, st.one_of(st.integers(0, 300), st.integers(0, (1 << 64) - 1)), st.sampled_from([0, 0, 0, 1, 3, 9])
)
tags = st.builds(
    lambda number, kind, spare: varint(number << 3 | kind, spare),
    st.one_of(st.integers(0, 9), st.integers(0, (1 << 29) - 1)),
    st.integers(0, 7),
    st.sampled_from([0, 0, 0, 1]),
)
texts = st.text(max_size=6)
parameters = st.dictionaries(
    texts,
    st.one_of(
        st.builds(pb.InferParameter, bool_param=st.booleans()),
        st.builds(pb.InferParameter, int64_param=st.integers(-(1 << 63), (1 << 63) - 1)),
        st.builds(pb.InferParameter, string_param=texts),
        st.builds(pb.InferParameter),
    ),
    max_size=2,
)
tensors = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=texts,
    datatype=st.sampled_from(["FP32", "UINT8", "BYTES", "nonsense"]),
    shape=st.lists(st.integers(-1, 1 << 40), max_size=4),
    parameters=parameters,
    contents=st.one_of(
        st.none(), st.builds(pb.InferTensorContents, bool_contents=st.lists(st.booleans(), max_size=3))
    ),
)
requests = st.builds(
    pb.ModelInferRequest,
    model_name=texts,
    model_version=texts,
    id=texts,
    parameters=parameters,
    inputs=st.lists(tensors, max_size=3),
    outputs=st.lists(st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=texts), max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=200), max_size=4),
).map(lambda message: message.SerializeToString())
delimited = st.builds(
    lambda tag, body, spare: tag + varint(len(body), spare) + body,
    tags,
    st.binary(max_size=20),
    st.sampled_from([0, 0, 0, 1, 4, 5]),
)
pieces = st.one_of(
    requests, delimited, st.builds(lambda tag, value: tag + value, tags, varints), st.binary(max_size=8)
)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """Pieces one after the other, cut short or with a byte changed."""
    data = b"".join(draw(st.lists(pieces, max_size=5)))
    if data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
    if draw(st.integers(0, 3)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    return data


def fuzz_requests(examples: int) -> None:
    """Look for a difference in so many requests; AssertionError with the smallest one found."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.one_of(torn(), requests, st.binary(max_size=64)))
    def look(data: bytes) -> None:
        check_against_protobuf(data)

    look()


def main(seconds: float) -> None:
    """Look for `seconds`."""
    until_s = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < until_s:
        fuzz_requests(ROUND)
        rounds += 1
    print(f"{rounds * ROUND} requests, no difference")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
