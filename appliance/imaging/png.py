"""PNG: what its header says, and arrays as PNG bytes for the pictures that results carry.

Source: Portable Network Graphics, W3C recommendation (third edition), sections 5 and 11.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.exif import read_orientation
from appliance.imaging.header import Header

COMPRESSION = 1  # zlib level for encoding: several times faster than the default, a tenth larger
MAX_CHUNKS = 100_000  # a real file of 64 MiB holds about 8000

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_FIRST_CHUNK = 8  # bytes of the signature


def read_png_header(data: bytes) -> Header:
    """Size, depth and orientation, after a walk over all chunks: each must lie inside the file.

    The walk matters: a native decoder may allocate what a chunk's length claims (up to 4 GB) before it
    notices that the bytes are not there.

    Raises:
        CorruptImage: a chunk reaches beyond the file, or the fields of IHDR make no sense.
        UnsupportedFormat: an animation.
    """
    length, name, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, _FIRST_CHUNK)
    if name != b"IHDR" or length != 13:
        raise CorruptImage("expected a PNG that begins with an IHDR chunk of 13 bytes and got another chunk")
    if depth not in _DEPTHS.get(colour, ()):
        raise CorruptImage(
            f"expected a depth of {_DEPTHS.get(colour, 'a known colour type')} and got {depth} bits"
        )
    orientation = 1
    position = _FIRST_CHUNK
    for _ in range(MAX_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, name and CRC take 4 bytes each
        if end > len(data):
            raise CorruptImage(f"expected a PNG of at least {end} bytes and got {len(data)}")
        if name == b"acTL":
            raise UnsupportedFormat("expected one frame and got an animated PNG")
        if name == b"eXIf":
            orientation = read_orientation(data[position + 8 : end - 4])
        if name == b"IEND":
            return Header(width, height, depth, orientation)
        position = end
    raise CorruptImage(f"expected at most {MAX_CHUNKS} PNG chunks and got more")


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """The array as a PNG file.

    Args:
        array: uint8, (height, width) grey or (height, width, 3) red first.

    Raises:
        ValueError: another dtype or shape.
    """
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (array.ndim == 2 or colour) or array.size == 0:
        raise ValueError(
            f"expected uint8 of shape (H, W) or (H, W, 3) and got {array.dtype} of {array.shape}"
        )
    pixels = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if colour else array
    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])
    if not done:
        raise ValueError(f"expected a PNG encoder that takes {array.shape} and got a refusal")
    return encoded.tobytes()
