"""BMP: what its header says. Source: Microsoft, BITMAPCOREHEADER and BITMAPINFOHEADER."""

from __future__ import annotations

import struct

from appliance.errors import CorruptImage
from appliance.imaging.header import Header

_CORE_BYTES = 12  # OS/2's header with 16-bit sides
_INFO_BYTES = 40  # Windows' first header; later ones only append to it
_DEPTHS = (1, 4, 8, 16, 24, 32)  # bits of one pixel


def read_bmp_header(data: bytes) -> Header:
    """Size and depth; a negative height only says that the rows run downwards.

    Raises:
        CorruptImage: an unknown header size or pixel depth.
    """
    (size,) = struct.unpack_from("<I", data, 14)
    if size == _CORE_BYTES:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
    elif _INFO_BYTES <= size <= 256:
        width, height, _, depth = struct.unpack_from("<iiHH", data, 18)
    else:
        raise CorruptImage(f"expected a BMP header of 12 or 40…256 bytes and got {size}")
    if depth not in _DEPTHS:
        raise CorruptImage(f"expected a BMP depth out of {_DEPTHS} bits and got {depth}")
    if width < 0:
        raise CorruptImage(f"expected a positive width and got {width}")
    return Header(width, abs(height), bit_depth=8)
