"""The start of a DICOM file: which transfer syntax the rest is in, and where it begins.

Read by hand because a deflated data set must be inflated within a bound, and pydicom inflates without one.
Source: DICOM PS3.10, 7.1 (file meta information: always explicit VR, little-endian); PS3.5, 7.1.2.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from appliance.errors import CorruptImage, ImageTooLarge

DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_ELEMENTS = 100  # of the meta group; the standard defines fewer than twenty
MAX_INFLATED_BYTES = 256 * 2**20  # a deflated film of 64 MiB limit and twofold compression fits

_FIRST_ELEMENT = 132  # behind the preamble and "DICM"
_META_GROUP, _TRANSFER_SYNTAX = 0x0002, 0x0010
_LONG_VRS = frozenset((b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL", b"UC", b"UR"))


@dataclass(frozen=True)
class FileMeta:
    """What the decoder needs from the meta group."""

    transfer_syntax: str  # UID
    data_set_start: int  # byte offset in the file


def read_meta(data: bytes) -> FileMeta:
    """Walk the elements of group 0002.

    Raises:
        CorruptImage: the group is cut off or names no transfer syntax.
    """
    position = _FIRST_ELEMENT
    transfer_syntax = ""
    try:
        for _ in range(MAX_ELEMENTS):
            group, element, vr = struct.unpack_from("<HH2s", data, position)
            if group != _META_GROUP:
                break
            if vr in _LONG_VRS:
                (length,) = struct.unpack_from("<I", data, position + 8)
                start = position + 12
            else:
                (length,) = struct.unpack_from("<H", data, position + 6)
                start = position + 8
            position = start + length
            if element == _TRANSFER_SYNTAX:
                transfer_syntax = data[start:position].rstrip(b"\x00 ").decode("ascii", "replace")
    except struct.error as exc:
        raise CorruptImage("expected a complete DICOM meta group and got one that is cut off") from exc
    if not transfer_syntax:
        raise CorruptImage("expected a DICOM meta group that names its transfer syntax and got none")
    return FileMeta(transfer_syntax, position)


def inflate(deflated: bytes) -> bytes:
    """The data set of a file in the deflated transfer syntax (PS3.5, A.5), within a bound.

    Raises:
        ImageTooLarge: it grows beyond the bound.
        CorruptImage: it is no deflate stream.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(deflated, MAX_INFLATED_BYTES)
    except zlib.error as exc:
        raise CorruptImage("expected a deflated DICOM data set and got a broken stream") from exc
    if stream.unconsumed_tail:
        raise ImageTooLarge(f"expected a DICOM data set that inflates to at most {MAX_INFLATED_BYTES} bytes")
    if not stream.eof:
        raise CorruptImage("expected a complete deflated DICOM data set and got a truncated one")
    return inflated
