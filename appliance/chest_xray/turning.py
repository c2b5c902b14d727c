"""A film that lies on its side or is mirrored is turned upright for the model; boxes go back as it was sent.

Orientations are EXIF's eight (`appliance.imaging.exif.upright` turns the pixels): every one is a swap of the
sides or none, then a flip of rows or none, then a flip of columns or none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def boxes_as_sent(
    boxes: NDArray[np.float64], orientation: int, width: int, height: int
) -> NDArray[np.float64]:
    """Boxes on the upright film → boxes on the film as it was sent.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the upright film.
        orientation: 1…8, the one that `upright` was given.
        width: of the film as it was sent, pixels.
        height: likewise.
    """
    swapped = orientation >= 5
    across, down = (height, width) if swapped else (width, height)
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    if orientation in (2, 3, 6, 7):
        x0, x1 = across - x1, across - x0
    if orientation in (3, 4, 7, 8):
        y0, y1 = down - y1, down - y0
    if swapped:
        x0, y0, x1, y1 = y0, x0, y1, x1
    return np.stack([x0, y0, x1, y1], axis=1)
