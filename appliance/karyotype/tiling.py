"""Region of a spread → the detector's windows: one where it fits, overlapping tiles where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box
from appliance.models.preprocessing import Placement


@dataclass(frozen=True)
class Window:
    """One detector input: a square cut of the scaled field."""

    left: int  # of the window in the scaled field, in network pixels; may be negative
    top: int
    size: int
    scale: float  # network pixels per image pixel

    @property
    def placement(self) -> Placement:
        """Where the image lies in this window."""
        return Placement(scale=self.scale, left=-self.left, top=-self.top)

    def cuts(self, box: NDArray[np.float32], field_width: int, field_height: int) -> bool:
        """Whether a box (x0, y0, x1, y1 in window pixels) ends at a side behind which the field goes on."""
        x0, y0, x1, y1 = (float(value) for value in box)
        edge = 2.0
        return (
            (x0 < edge and self.left > 0)
            or (y0 < edge and self.top > 0)
            or (x1 > self.size - edge and self.left + self.size < field_width)
            or (y1 > self.size - edge and self.top + self.size < field_height)
        )


def plan_windows(
    region: Box, scale: float, size: int, overlap: int, spare_px: float = 0.0
) -> tuple[Window, ...]:
    """Cover a region with as few windows as possible, row by row.

    Args:
        region: in image pixels.
        scale: network pixels per image pixel.
        size: side of a window in network pixels.
        overlap: network pixels that neighbouring windows share at least.
        spare_px: image pixels on each side of the region that may be left out where that saves a window.

    Raises:
        ValueError: if the overlap leaves no room for a step.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"expected an overlap from 0 to {size - 1} network pixels and got {overlap}")
    spare = spare_px * scale
    lefts = _starts(region.x * scale, region.width * scale, size, overlap, spare)
    tops = _starts(region.y * scale, region.height * scale, size, overlap, spare)
    return tuple(Window(left, top, size, scale) for top in tops for left in lefts)


def _starts(first: float, length: float, size: int, overlap: int, spare: float) -> list[int]:
    if length - 2.0 * spare <= size:
        return [round(first + length / 2.0 - size / 2.0)]
    start, stop = math.floor(first), math.ceil(first + length)
    number = math.ceil((stop - start - overlap) / (size - overlap))
    step = (stop - start - size) / (number - 1)
    return [start + math.ceil(index * step) for index in range(number)]


def scaled_field(stain: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Shrink the whole field once for all windows, with area averaging."""
    height, width = stain.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(stain, size, interpolation=how), dtype=np.float32)


def cut_window(field: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Cut one detector input (1, 1, size, size) out of the scaled field, padded with background."""
    height, width = field.shape
    canvas = np.zeros((1, 1, window.size, window.size), dtype=np.float32)
    x0, y0 = max(window.left, 0), max(window.top, 0)
    x1, y1 = min(window.left + window.size, width), min(window.top + window.size, height)
    if x1 > x0 and y1 > y0:
        rows = slice(y0 - window.top, y1 - window.top)
        columns = slice(x0 - window.left, x1 - window.left)
        canvas[0, 0, rows, columns] = field[y0:y1, x0:x1]
    return canvas
