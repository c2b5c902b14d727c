"""What a raster file says about itself, read in pure Python before any native decoder sees the bytes.

A header that asks for 60,000 × 60,000 pixels is refused from these few numbers, without an allocation.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Alpha(enum.Enum):
    """What the fourth channel means once the image is decoded."""

    STRAIGHT = "straight"  # opacity; colours are stored as they are
    PREMULTIPLIED = "premultiplied"  # opacity; colours were multiplied by it
    IGNORED = "ignored"  # not an opacity: dropped


@dataclass(frozen=True)
class Header:
    """Geometry and depth of one raster image, as stored (before its orientation is applied)."""

    width: int  # pixels
    height: int  # pixels
    bit_depth: int  # bits of one sample
    orientation: int = 1  # EXIF orientation 1…8 that is left to us
    alpha: Alpha = Alpha.STRAIGHT
    inverted: bool = False  # 0 is white, and the decoder leaves that to us
