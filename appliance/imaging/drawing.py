"""A canvas for renderings: crisp text, lines, translucent outlines and the research-use notice, PNG out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance import RESEARCH_USE_ONLY

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255 each."""

INK: Final[Colour] = (38, 30, 26)
QUIET: Final[Colour] = (132, 122, 116)
FAINT: Final[Colour] = (214, 208, 204)
PAPER: Final[Colour] = (255, 255, 255)
AMBER: Final[Colour] = (0, 128, 226)

REGULAR: Final = 400
BOLD: Final = 700
_SHIFT: Final = 4
_PNG_EFFORT: Final = 3
"""zlib level: at 3 a page takes a third of the time of level 6 and a tenth more bytes."""


class Canvas:
    """An image to draw on, with sub-pixel coordinates whose origin is the outer corner of the first pixel.

    Args:
        pixels: (H, W, 3) uint8 BGR, drawn into in place.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        # A font face keeps state while it draws, so that threads must not share one.
        self._font = cv2.FontFace("sans")

    @classmethod
    def blank(cls, width: int, height: int, colour: Colour = PAPER) -> Canvas:
        """A canvas of one colour."""
        return cls(np.full((height, width, 3), colour, dtype=np.uint8))

    @classmethod
    def over(cls, grey: NDArray[np.uint8], scale: float = 1.0) -> Canvas:
        """A canvas that shows a grey image, magnified by `scale`."""
        if scale != 1.0:
            size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
            how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
            grey = np.asarray(cv2.resize(grey, size, interpolation=how), dtype=np.uint8)
        return cls(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8))

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])

    def measure(self, text: str, size: int, weight: int = REGULAR) -> int:
        """Width of a text in pixels."""
        rectangle = cv2.getTextSize((0, 0), text, (0, 0), self._font, size, weight)
        return int(rectangle[2])

    def text(
        self,
        text: str,
        x: float,
        y: float,
        size: int,
        colour: Colour = INK,
        weight: int = REGULAR,
        anchor: float = 0.0,
    ) -> None:
        """Write a line of text.

        Args:
            text: the line.
            x: where the part `anchor` of its width lies: 0 left, 0.5 middle, 1 right.
            y: of the baseline.
            size: of the font, in pixels.
            colour: of the ink.
            weight: 100..1000 as in CSS.
            anchor: 0..1.
        """
        left = x - anchor * self.measure(text, size, weight) if anchor else x
        cv2.putText(self.pixels, text, (round(left), round(y)), colour, self._font, size, weight)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: int = 1) -> None:
        """Draw a straight line."""
        cv2.line(self.pixels, _fixed(x0, y0), _fixed(x1, y1), colour, thickness, cv2.LINE_AA, _SHIFT)

    def dashed_box(
        self, x: float, y: float, width: float, height: float, colour: Colour, dash: int = 10
    ) -> None:
        """Draw a rectangle of dashes."""
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        for (x0, y0), (x1, y1) in itertools.pairwise(corners):
            length = max(abs(x1 - x0), abs(y1 - y0))
            for start in np.arange(0.0, length, 2.0 * dash):
                stop = min(start + dash, length)
                across, along = (x1 - x0) / length, (y1 - y0) / length
                self.line(
                    x0 + across * start, y0 + along * start, x0 + across * stop, y0 + along * stop, colour
                )

    def box(
        self, x: float, y: float, width: float, height: float, colour: Colour, thickness: int = 1
    ) -> None:
        """Draw a rectangle along these outer corners."""
        first, last = _fixed(x, y), _fixed(x + width, y + height)
        cv2.rectangle(self.pixels, first, last, colour, thickness, cv2.LINE_AA, _SHIFT)

    def outline(
        self, polygon: Sequence[tuple[float, float]], colour: Colour, thickness: int = 1, tint: float = 0.0
    ) -> None:
        """Draw a closed polygon, its inside tinted by the share `tint` of the colour."""
        points = np.array([_fixed(x, y) for x, y in polygon], dtype=np.int32)
        if tint > 0.0:
            self._tint(points, colour, tint)
        cv2.polylines(self.pixels, [points], True, colour, thickness, cv2.LINE_AA, _SHIFT)

    def plate(self, x: float, y: float, width: float, height: float, colour: Colour, share: float) -> None:
        """Lay a translucent rectangle over what is there."""
        left, top = max(0, round(x)), max(0, round(y))
        right, bottom = min(self.width, round(x + width)), min(self.height, round(y + height))
        if right > left and bottom > top:
            window = self.pixels[top:bottom, left:right]
            window[...] = np.round(window * (1.0 - share) + np.array(colour) * share).astype(np.uint8)

    def print_on(self, grey: NDArray[np.uint8], left: int, top: int) -> None:
        """Print a grey picture like ink: white leaves the paper as it is, the darker of two stays."""
        height, width = grey.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.width), min(top + height, self.height)
        if x1 > x0 and y1 > y0:
            ink = grey[y0 - top : y1 - top, x0 - left : x1 - left, None]
            window = self.pixels[y0:y1, x0:x1]
            np.minimum(window, ink, out=window)

    def notice(self, size: int, colour: Colour, x: float, y: float, anchor: float = 0.0) -> None:
        """Write the research-use notice that every rendering of a model's output carries."""
        self.text(RESEARCH_USE_ONLY, x, y, size, colour, BOLD, anchor)

    def png(self) -> bytes:
        """The canvas as a PNG file."""
        _, data = cv2.imencode(".png", self.pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_EFFORT])
        return bytes(data)

    def _tint(self, points: NDArray[np.int32], colour: Colour, share: float) -> None:
        low = np.maximum(points.min(axis=0) >> _SHIFT, 0)
        high = np.minimum((points.max(axis=0) >> _SHIFT) + 2, (self.width, self.height))
        if (high <= low).any():
            return
        window = self.pixels[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(window.shape[:2], dtype=np.uint8)
        shifted = (points - (low << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [shifted], 255, cv2.LINE_AA, _SHIFT)
        weight = mask[..., None].astype(np.float32) * (share / 255.0)
        window[...] = np.round(window * (1.0 - weight) + np.array(colour, dtype=np.float32) * weight)


def _fixed(x: float, y: float) -> tuple[int, int]:
    """A point in OpenCV's fixed-point coordinates, whose whole numbers are pixel centres."""
    return round((x - 0.5) * (1 << _SHIFT)), round((y - 0.5) * (1 << _SHIFT))
