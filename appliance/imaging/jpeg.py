"""JPEG: what its header says.

Source: ISO/IEC 10918-1, annex B; JPEG-LS shares its segments (ISO/IEC 14495-1, annex C).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.exif import read_orientation
from appliance.imaging.header import Header

BASELINE_TO_PROGRESSIVE = (0xC0, 0xC1, 0xC2)  # sequential and progressive DCT with Huffman codes
JPEG_LS = 0xF7

MAX_SEGMENTS = 10_000  # a real file has some dozens before its first scan
_FRAME_STARTS = frozenset((*range(0xC0, 0xD0), JPEG_LS)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC lie between
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM and restarts have no length
_SCAN_START, _IMAGE_END, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF_MARK = b"Exif\x00\x00"


@dataclass(frozen=True)
class JpegFrame:
    """The start-of-frame segment of one JPEG or JPEG-LS codestream, and the EXIF orientation before it."""

    process: int  # second byte of the start-of-frame marker, 0xC0…0xCF or 0xF7
    precision: int  # bits of one sample
    width: int  # pixels
    height: int  # pixels
    components: int
    orientation: int = 1


def read_jpeg_frame(data: bytes) -> JpegFrame:
    """Walk the segments up to the first start of frame.

    Raises:
        CorruptImage: no start of frame before the first scan or the end.
    """
    position = 2
    orientation = 1
    for _ in range(MAX_SEGMENTS):
        position = data.find(b"\xff", position)
        while (
            0 <= position < len(data) and data[position] == 0xFF
        ):  # any number of fill bytes may precede a marker
            position += 1
        if not 0 <= position < len(data):
            break
        marker = data[position]
        position += 1
        if marker in _STANDALONE or marker == 0:
            continue
        if marker in (_SCAN_START, _IMAGE_END):
            break
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _FRAME_STARTS:
            precision, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
            return JpegFrame(marker, precision, width, height, components, orientation)
        if marker == _APP1 and data.startswith(_EXIF_MARK, position + 2):
            orientation = read_orientation(data[position + 2 + len(_EXIF_MARK) : position + length])
        position += max(length, 2)
    raise CorruptImage("expected a JPEG with a start of frame before its first scan and got none")


def read_jpeg_header(data: bytes) -> Header:
    """The header of a JPEG file that stands alone.

    Raises:
        CorruptImage: no start of frame.
        UnsupportedFormat: lossless, arithmetic-coded or hierarchical; not 8 bits; not 1 or 3 components.
    """
    frame = read_jpeg_frame(data)
    if frame.process not in BASELINE_TO_PROGRESSIVE:
        raise UnsupportedFormat(
            f"expected a baseline, extended or progressive JPEG and got process 0x{frame.process:02X} "
            "(lossless, arithmetic or hierarchical)"
        )
    if frame.precision != 8:
        raise UnsupportedFormat(f"expected a JPEG with 8 bits a sample and got {frame.precision}")
    if frame.components not in (1, 3):
        raise UnsupportedFormat(f"expected a JPEG with 1 or 3 components and got {frame.components}")
    return Header(frame.width, frame.height, bit_depth=8, orientation=frame.orientation)
