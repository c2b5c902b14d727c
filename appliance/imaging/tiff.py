"""TIFF: what its directories say. Source: TIFF 6.0 (Adobe, 1992), sections 2, 8 and 18."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.header import Alpha, Header

MAX_DIRECTORIES = 64
MAX_ENTRIES = 1000  # of one directory; a microscope writes about thirty

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _FORMAT = 274, 277, 322, 323, 338, 339
_WANTED = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES}
_WANTED |= {_TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _FORMAT}
_SIZES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}  # BYTE, SHORT, LONG: format and bytes of one value
_REDUCED_COPY = 1  # bit of the subfile type: a thumbnail of another image in the file
_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ALPHAS_8_BIT = {1: Alpha.PREMULTIPLIED, 2: Alpha.PREMULTIPLIED}  # OpenCV's reader multiplies straight alpha
_ALPHAS_16_BIT = {1: Alpha.PREMULTIPLIED, 2: Alpha.STRAIGHT}  # … only at 8 bits

Tags = dict[int, tuple[int, ...]]


def read_tiff_header(data: bytes) -> Header:
    """Size, depth and meaning of the one image in the file.

    Orientation stays 1: OpenCV's TIFF reader applies the tag itself (and swaps the sides for 5 to 8).

    Raises:
        CorruptImage: a directory reaches beyond the file, loops, or lacks the size.
        UnsupportedFormat: several pages; not 8 or 16 bits of unsigned integers; a rare compression or colour.
    """
    pages = [tags for tags in _directories(data) if not _one(tags, _SUBFILE, 0) & _REDUCED_COPY]
    if len(pages) != 1:
        raise UnsupportedFormat(f"expected a TIFF with one page and got {len(pages)} pages")
    tags = pages[0]
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise CorruptImage("expected a TIFF that says its width and height and got one that does not")
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    bits, samples = _one(tags, _BITS, 1), _one(tags, _SAMPLES, 1)
    if bits not in (8, 16) or len(set(tags.get(_BITS, ()))) > 1 or _one(tags, _FORMAT, 1) != 1:
        raise UnsupportedFormat(
            f"expected a TIFF of 8 or 16 bit unsigned integers and got {tags.get(_BITS, (1,))} bits, "
            f"sample format {_one(tags, _FORMAT, 1)}"
        )
    _check_colour(_one(tags, _PHOTOMETRIC, _BLACK_IS_ZERO), samples)
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        known = ", ".join(sorted(set(_COMPRESSIONS.values())))
        raise UnsupportedFormat(f"expected a TIFF compression out of {known} and got number {compression}")
    if _one(tags, _TILE_WIDTH, 0) > width + 4096 or _one(tags, _TILE_HEIGHT, 0) > height + 4096:
        raise CorruptImage("expected TIFF tiles about as large as the image and got far larger ones")
    swapped = 5 <= _one(tags, _ORIENTATION, 1) <= 8
    extra = _one(tags, _EXTRA_SAMPLES, 0)
    return Header(
        width=height if swapped else width,
        height=width if swapped else height,
        bit_depth=bits,
        alpha=(_ALPHAS_8_BIT if bits == 8 else _ALPHAS_16_BIT).get(extra, Alpha.IGNORED),
        inverted=bits == 16 and _one(tags, _PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO,
    )


def _check_colour(photometric: int, samples: int) -> None:
    channels = {_WHITE_IS_ZERO: (1,), _BLACK_IS_ZERO: (1,), _RGB: (3, 4), _PALETTE: (1,), _YCBCR: (3,)}
    if samples not in channels.get(photometric, ()):
        raise UnsupportedFormat(
            "expected a TIFF in grey, palette, RGB, RGBA or YCbCr and got "
            f"photometric interpretation {photometric} with {samples} samples a pixel"
        )


def _one(tags: Tags, tag: int, default: int) -> int:
    return tags.get(tag, (default,))[0]


def _directories(data: bytes) -> Iterator[Tags]:
    """The wanted tags of every directory in the file, in order."""
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(f"{order}I", data, 4)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MAX_DIRECTORIES:
            raise CorruptImage(
                f"expected at most {MAX_DIRECTORIES} TIFF directories, none twice, and got more"
            )
        seen.add(offset)
        (count,) = struct.unpack_from(f"{order}H", data, offset)
        if count > MAX_ENTRIES:
            raise CorruptImage(f"expected at most {MAX_ENTRIES} entries in a TIFF directory and got {count}")
        tags: Tags = {}
        for index in range(count):
            tag, values = _entry(data, order, offset + 2 + 12 * index)
            if values:
                tags[tag] = values
        yield tags
        (offset,) = struct.unpack_from(f"{order}I", data, offset + 2 + 12 * count)


def _entry(data: bytes, order: str, position: int) -> tuple[int, tuple[int, ...]]:
    """Tag number and its values; no values for a tag that nobody asks for here."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", data, position)
    if tag not in _WANTED:
        return tag, ()
    if kind not in _SIZES or not 1 <= count <= 64:
        raise CorruptImage(
            f"expected TIFF tag {tag} to hold 1…64 integers and got type {kind}, count {count}"
        )
    letter, size = _SIZES[kind]
    place = position + 8
    if size * count > 4:  # longer values lie elsewhere in the file
        (place,) = struct.unpack_from(f"{order}I", data, position + 8)
    return tag, struct.unpack_from(f"{order}{count}{letter}", data, place)
