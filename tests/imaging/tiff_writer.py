"""A TIFF writer that writes what it is told, right or wrong: one strip a plane, tags as given."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SHORT, LONG = 3, 4


def write_tiff(
    pages: Sequence[NDArray[np.generic]],
    photometric: int = 1,
    order: str = "<",
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """Uncompressed TIFF; `tags` overrides any single-valued tag of every page."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + b"\0\0\0\0")
    link = 4  # where the offset of the next directory belongs
    for page in pages:
        cube = page if page.ndim == 3 else page[:, :, None]
        height, width, samples = cube.shape
        bits = 8 * cube.dtype.itemsize
        pixels = len(out)
        out += cube.astype(cube.dtype.newbyteorder(order)).tobytes()
        depths = len(out)
        out += struct.pack(f"{order}{samples}H", *[bits] * samples)
        out += b"\0" * (len(out) % 2)
        values: dict[int, int] = {
            254: 0, 256: width, 257: height, 258: bits if samples == 1 else depths, 259: 1, 262: photometric,
            273: pixels, 277: samples, 278: height, 279: cube.nbytes,
        }  # fmt: skip
        values.update(tags or {})
        struct.pack_into(f"{order}I", out, link, len(out))
        out += struct.pack(f"{order}H", len(values))
        for tag, value in sorted(values.items()):
            if tag == 258 and samples > 2:
                out += struct.pack(f"{order}HHII", tag, SHORT, samples, value)
            elif tag == 258:
                out += struct.pack(f"{order}HHIHH", tag, SHORT, samples, bits, bits if samples == 2 else 0)
            elif tag in (256, 257, 273, 278, 279):
                out += struct.pack(f"{order}HHII", tag, LONG, 1, value)
            else:
                out += struct.pack(f"{order}HHIHH", tag, SHORT, 1, value, 0)
        link = len(out)
        out += b"\0\0\0\0"
    return bytes(out)
