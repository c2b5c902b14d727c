"""Any decoded samples → 8-bit grey: colour to luma, alpha onto white, 16 bits to 8. One rule each.

- Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601-7, 2.5.1), which is also what a JPEG stores.
- Opacity is composited on white, the empty field of a bright-field microscope.
- 16-bit samples are scaled so that the brightest sample of the image is 255 and 0 stays 0: cameras put 10, 12
  or 14 bits into 16, some left- and some right-aligned, and say so nowhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.imaging.header import Alpha

BAND_ROWS = 256  # rows composited at once, so that float copies stay small

Samples = NDArray[np.uint8] | NDArray[np.uint16]


def to_grey(samples: Samples, alpha: Alpha, inverted: bool = False) -> NDArray[np.uint8]:
    """8-bit grey, C-contiguous.

    Args:
        samples: (height, width), (height, width, 3) or (height, width, 4), blue first, uint8 or uint16.
        alpha: what the fourth channel means.
        inverted: 0 is white in `samples`.
    """
    grey = _luma(samples, alpha)
    if inverted:
        grey = np.iinfo(grey.dtype).max - grey
    return np.ascontiguousarray(to_8_bit(grey))


def to_8_bit(grey: Samples) -> NDArray[np.uint8]:
    """uint16 scaled so that the brightest sample becomes 255; uint8 as it is."""
    if grey.dtype == np.uint8:
        return grey.astype(np.uint8, copy=False)
    brightest = int(grey.max())
    scaled = cv2.convertScaleAbs(grey, alpha=255.0 / max(brightest, 1))
    return scaled.astype(np.uint8, copy=False)


def _luma(samples: Samples, alpha: Alpha) -> Samples:
    if samples.ndim == 2:
        return samples
    if samples.shape[2] == 3 or alpha is Alpha.IGNORED:
        return _bgr_to_grey(samples)
    full = int(np.iinfo(samples.dtype).max)
    opacity = samples[:, :, 3]
    if int(opacity.min()) == full:
        return _bgr_to_grey(samples)
    grey = np.empty(opacity.shape, samples.dtype)
    for top in range(0, len(samples), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        cover = opacity[rows].astype(np.float32) / full
        shade = _bgr_to_grey(samples[rows]).astype(np.float32)
        if alpha is Alpha.STRAIGHT:
            shade *= cover
        grey[rows] = np.minimum(shade + (1 - cover) * full + 0.5, full)
    return grey


def _bgr_to_grey(samples: Samples) -> Samples:
    code = cv2.COLOR_BGR2GRAY if samples.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    grey: Samples = cv2.cvtColor(samples, code)  # type: ignore[assignment]
    return grey
