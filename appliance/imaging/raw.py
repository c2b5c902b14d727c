"""Raw samples with a shape and a dtype told beside them → Image; pure NumPy, so no decoder to fear."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.errors import DtypeMismatch, NonFinitePixels, UnsuitableImage
from appliance.imaging.grey import to_grey
from appliance.imaging.header import Alpha
from appliance.imaging.image import Image, ImageLimits, MediaType


class PixelType(enum.Enum):
    """How one sample is stored; the value is NumPy's name, little-endian."""

    UINT8 = "<u1"  # 0 = black, 255 = white
    UINT16 = "<u2"  # 0 = black; the brightest sample of the image becomes white
    FLOAT32 = "<f4"  # any finite range; the smallest sample becomes black, the largest white


def decode_raw(data: bytes, shape: Sequence[int], pixel_type: PixelType, limits: ImageLimits) -> Image:
    """Samples in row-major order, channels last, as an image.

    Args:
        data: exactly the product of `shape` times the bytes of one sample.
        shape: (height, width), (height, width, 1) or (height, width, 3) with red first; pixels.
        pixel_type: how one sample is stored.
        limits: what is refused.

    Raises:
        EmptyInput, ImageTooLarge, ImageTooSmall: against the limits.
        DtypeMismatch: shape, dtype and number of bytes do not agree.
        NonFinitePixels: NaN or infinity in a float image.
        UnsuitableImage: a float image with one value only, which has neither black nor white.
    """
    limits.check_bytes(len(data))
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)) or min(shape) < 1:
        raise DtypeMismatch(f"expected a shape (H, W), (H, W, 1) or (H, W, 3) and got {tuple(shape)}")
    height, width = shape[0], shape[1]
    limits.check_size(width, height)
    dtype = np.dtype(pixel_type.value)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise DtypeMismatch(
            f"expected {expected} bytes for {pixel_type.name} of shape {tuple(shape)} and got {len(data)}"
        )
    samples = np.frombuffer(data, dtype).reshape(height, width, -1)
    depth = 8 * dtype.itemsize
    if pixel_type is PixelType.FLOAT32:
        samples = _stretch(samples)
    # Red first becomes blue first, and the copy makes the array ours and contiguous.
    bgr = np.array(samples[:, :, ::-1] if samples.shape[2] == 3 else samples[:, :, 0], order="C")
    return Image(to_grey(bgr, Alpha.IGNORED), MediaType.RAW, source_bit_depth=depth)


def _stretch(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The range of a float image onto 0…255."""
    low, high = float(samples.min()), float(samples.max())  # NaN and infinity show up in one of the two
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(samples.size - np.count_nonzero(np.isfinite(samples)))
        raise NonFinitePixels(f"expected finite pixels and got {bad} that are NaN or infinite")
    if low == high:
        raise UnsuitableImage(f"expected float pixels of more than one value and got {low:g} everywhere")
    # Halves first: high - low may overflow float32, and float64 would double the memory.
    unit = (samples / 2 - low / 2) / np.float32(high / 2 - low / 2)
    stretched: NDArray[np.uint8] = np.clip(unit * 255 + 0.5, 0, 255).astype(np.uint8)
    return stretched
