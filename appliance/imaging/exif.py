"""The one EXIF field that changes pixels: orientation. Source: CIPA DC-008 (Exif 2.32), section 4.6.4 A."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

ORIENTATION_TAG = 0x0112
MAX_ENTRIES = 1000  # of the first directory; a camera writes about twenty
_SHORT = 3


def read_orientation(exif: bytes) -> int:
    """Orientation 1…8 from an EXIF block (a TIFF structure); 1, as stored, where it does not say.

    EXIF is a courtesy beside the image: a broken block counts as none and does not make the image wrong.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for index in range(min(count, MAX_ENTRIES)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * index)
            if tag == ORIENTATION_TAG and kind == _SHORT:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def upright(grey: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The image turned and mirrored so that its orientation is 1; C-contiguous.

    Args:
        grey: (height, width) as stored.
        orientation: 1…8; 5 to 8 swap the sides.
    """
    if orientation >= 5:
        grey = grey.T
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return np.ascontiguousarray(grey)
