"""Tensors of byte strings on the wire: before each element its length, four bytes, little-endian."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InvalidInput

LENGTH = struct.Struct("<I")


def read_bytes_tensor(name: str, raw: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[Any]:
    """The elements as an array of objects; InvalidInput unless they fill `raw` exactly."""
    count = math.prod(shape)
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) < count:
        if at + LENGTH.size > len(raw):
            raise InvalidInput(
                f"input {name!r}: expected a length of 4 bytes before element {len(elements)}"
                f" and got {len(raw) - at} bytes"
            )
        (size,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if at + size > len(raw):
            raise InvalidInput(
                f"input {name!r}: expected {size} bytes in element {len(elements)} and got {len(raw) - at}"
            )
        elements.append(bytes(raw[at : at + size]))
        at += size
    if len(elements) != count or at != len(raw):
        raise InvalidInput(
            f"input {name!r}: expected {count} elements and nothing after them and got {len(elements)}"
            f" and {len(raw) - at} further bytes"
        )
    return as_objects(elements, shape)


def write_bytes_tensor(array: NDArray[Any]) -> bytes:
    """The elements, row by row, each with its length before it."""
    return b"".join(LENGTH.pack(len(element)) + element for element in array.flat)


def as_objects(elements: list[bytes], shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of byte strings."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)
