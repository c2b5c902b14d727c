"""Inference requests and responses as bytes: large tensors pass beside protobuf, never through it.

Protobuf's parser copies every tensor into memory of its own, and once more for Python. Here only the
outermost fields of a request are walked by hand, to find the raw contents and leave them where they are; all
the rest, a hundred bytes or so, is for protobuf's own parser. So there is nothing in a request that the two
could read differently but its outermost frame, and where that has any but the plain form, protobuf reads all
of it. The format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from appliance.errors import InvalidInput
from appliance.pb import open_inference_pb2 as pb

Buffer = bytes | memoryview

LENGTH_DELIMITED = 2
"""Wire type of byte strings, texts and messages; every field of a request has it."""

RAW_INPUT = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | LENGTH_DELIMITED
RAW_OUTPUT = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | LENGTH_DELIMITED
STREAM_RESPONSE = pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER << 3 | LENGTH_DELIMITED
REQUEST_TAGS = frozenset(
    number << 3 | LENGTH_DELIMITED for number in pb.ModelInferRequest.DESCRIPTOR.fields_by_number
)
MAX_FIELDS = 4096
"""Outermost fields of a request; an empty one takes two bytes on the wire and a hundred in memory."""

MAX_LENGTH_BYTES = 5
"""Of a length on the wire; a message is below 2 GiB."""


@dataclass(frozen=True)
class InferRequest:
    """A request; `raw` are views into the bytes that came."""

    head: pb.ModelInferRequest  # all fields but the raw contents
    raw: tuple[memoryview, ...]


@dataclass(frozen=True)
class InferResponse:
    """A response, in parts that go onto the wire one after the other."""

    head: pb.ModelInferResponse  # all fields but the raw contents
    raw: tuple[Buffer, ...]

    def to_bytes(self) -> bytes:
        """The response as protobuf would write it, but for the order of its fields, which means nothing."""
        return b"".join(self._parts())

    def to_stream_bytes(self) -> bytes:
        """The same inside a ModelStreamInferResponse."""
        parts = self._parts()
        size = sum(len(part) for part in parts)
        return b"".join((bytes((STREAM_RESPONSE,)), _varint(size), *parts))

    def _parts(self) -> list[Buffer]:
        parts: list[Buffer] = [self.head.SerializeToString()]
        for one in self.raw:
            parts += (bytes((RAW_OUTPUT,)), _varint(len(one)), one)
        return parts


def read_request(data: bytes) -> InferRequest:
    """Take a request apart.

    Args:
        data: a ModelInferRequest on the wire; the views of the result keep it alive.

    Raises:
        InvalidInput: protobuf's parser would not read it, or it has more than MAX_FIELDS outermost fields.
    """
    try:
        split = _split(data)
        if split is not None:
            rest, raw = split
            return InferRequest(pb.ModelInferRequest.FromString(b"".join(rest)), tuple(raw))
        head = pb.ModelInferRequest.FromString(data)
    except DecodeError as exc:
        raise InvalidInput(
            f"expected a ModelInferRequest message and got {len(data)} bytes that are none"
        ) from exc
    copied = tuple(memoryview(one) for one in head.raw_input_contents)
    del head.raw_input_contents[:]
    return InferRequest(head, copied)


def _split(data: bytes) -> tuple[list[memoryview], list[memoryview]] | None:
    """What is for protobuf's parser, and the raw contents; None where the frame is not in the plain form.

    Plain is what every encoder writes: known fields, each tag one byte, each length as short as it can be.
    """
    view = memoryview(data)
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    at = rest_from = fields = 0
    while at < len(data):
        begin = at
        fields += 1
        if fields > MAX_FIELDS:
            raise InvalidInput(f"expected a request of at most {MAX_FIELDS} fields and got more")
        if data[at] not in REQUEST_TAGS:
            return None
        length = _length(data, at + 1)
        if length is None:
            return None
        size, start = length
        at = start + size
        if at > len(data):
            return None
        if data[begin] == RAW_INPUT:
            raw.append(view[start:at])
            rest.append(view[rest_from:begin])
            rest_from = at
    rest.append(view[rest_from:])
    return rest, raw


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """A length and where it ends; None for one that is cut off or longer than need be."""
    size = 0
    for index, byte in enumerate(data[at : at + MAX_LENGTH_BYTES]):
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return (size, at + index + 1) if byte or not index else None
    return None


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set in all but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
