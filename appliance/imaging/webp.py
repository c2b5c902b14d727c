"""WebP: what its header says. Source: RFC 9649, sections 2 (container) and 3.4 (lossless), RFC 6386, 9.1."""

from __future__ import annotations

import struct

from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.exif import read_orientation
from appliance.imaging.header import Header

MAX_CHUNKS = 1000  # an extended still image has about five
_ANIMATION_FLAG = 0x02
_KEYFRAME_START = b"\x9d\x01\x2a"
_LOSSLESS_START = 0x2F
_FIRST_CHUNK = 12  # bytes of "RIFF", size, "WEBP"


def read_webp_header(data: bytes) -> Header:
    """Size of the canvas, and orientation where there is an EXIF chunk.

    Raises:
        CorruptImage: the file is shorter than it says, or a bitstream begins in no known way.
        UnsupportedFormat: an animation.
    """
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    if riff_bytes + 8 > len(data):
        raise CorruptImage(f"expected a WebP of {riff_bytes + 8} bytes and got {len(data)}")
    name = data[_FIRST_CHUNK : _FIRST_CHUNK + 4]
    payload = _FIRST_CHUNK + 8
    if name == b"VP8 ":
        width, height = _lossy_size(data, payload)
    elif name == b"VP8L":
        width, height = _lossless_size(data, payload)
    elif name == b"VP8X":
        if data[payload] & _ANIMATION_FLAG:
            raise UnsupportedFormat("expected one frame and got an animated WebP")
        width = 1 + int.from_bytes(data[payload + 4 : payload + 7], "little")
        height = 1 + int.from_bytes(data[payload + 7 : payload + 10], "little")
        _check_bitstream(data, width, height)
    else:
        raise CorruptImage("expected a WebP that begins with a VP8, VP8L or VP8X chunk and got another one")
    return Header(width, height, bit_depth=8, orientation=_orientation(data))


def _lossy_size(data: bytes, start: int) -> tuple[int, int]:
    mark, width, height = struct.unpack_from("<3sHH", data, start + 3)
    if mark != _KEYFRAME_START:
        raise CorruptImage("expected a WebP key frame and got no start code")
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(data: bytes, start: int) -> tuple[int, int]:
    mark, bits = struct.unpack_from("<BI", data, start)
    if mark != _LOSSLESS_START:
        raise CorruptImage("expected a lossless WebP bitstream and got no signature byte")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the payload of every chunk."""
    found: list[tuple[bytes, int, int]] = []
    position = _FIRST_CHUNK
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        end = position + 8 + size
        if end > len(data) or len(found) >= MAX_CHUNKS:
            break  # what follows the image is not worth refusing it; the decoder checks the image itself
        found.append((name, position + 8, end))
        position = end + size % 2
    return found


def _check_bitstream(data: bytes, width: int, height: int) -> None:
    """A canvas and an image of different sizes: one of the two would escape the limits."""
    for name, start, _ in _chunks(data):
        if name in (b"VP8 ", b"VP8L"):
            size = _lossy_size(data, start) if name == b"VP8 " else _lossless_size(data, start)
            if size != (width, height):
                raise CorruptImage(
                    f"expected an image as large as its canvas, {width} × {height}, and got {size}"
                )
            return
    raise CorruptImage("expected an image in the WebP container and got none")


def _orientation(data: bytes) -> int:
    for name, start, end in _chunks(data):
        if name == b"EXIF":
            return read_orientation(data[start:end].removeprefix(b"Exif\x00\x00"))
    return 1
