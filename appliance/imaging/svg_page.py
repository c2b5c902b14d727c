"""A page as SVG 1.1: one self-contained file, text stays text."""

from __future__ import annotations

import base64
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance import RESEARCH_USE_ONLY
from appliance.imaging.drawing import BOLD, INK, PAPER, REGULAR, Colour
from appliance.imaging.page import PAGE_DPI, ink_picture, ruler

_MM_PER_INCH = 25.4
_FONTS = "Rubik, Helvetica, Arial, sans-serif"


class SvgPage:
    """Collects strokes and writes them as one file.

    Args:
        width: page pixels.
        height: page pixels.
        title: shown by viewers and read to those who cannot see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._ruler = ruler()
        self._parts: list[str] = []

    def measure(self, text: str, size: int, weight: int = REGULAR) -> int:
        """Width of a text in page pixels."""
        return self._ruler.measure(text, size, weight)

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
        """Write a line of text; a viewer with another font keeps the width, and with it the layout."""
        width = self.measure(text, size, weight)
        self._parts.append(
            f'<text x="{x - anchor * width:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}"'
            f' fill="{_css(colour)}" textLength="{max(width, 1)}" lengthAdjust="spacingAndGlyphs">'
            f"{escape(text)}</text>"
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: int = 1) -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{_css(colour)}"'
            f' stroke-width="{thickness}"/>'
        )

    def dashed_box(
        self, x: float, y: float, width: float, height: float, colour: Colour, dash: int = 10
    ) -> None:
        """Draw a rectangle of dashes."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none"'
            f' stroke="{_css(colour)}" stroke-dasharray="{dash}"/>'
        )

    def print_on(self, grey: NDArray[np.uint8], left: int, top: int) -> None:
        """Embed a grey picture as ink."""
        _, png = cv2.imencode(".png", ink_picture(grey))
        data = base64.b64encode(bytes(png)).decode("ascii")
        height, width = grey.shape
        self._parts.append(
            f'<image x="{left}" y="{top}" width="{width}" height="{height}"'
            f' href="data:image/png;base64,{data}"/>'
        )

    def notice(self, size: int, colour: Colour, x: float, y: float, anchor: float = 0.0) -> None:
        """Write the research-use notice."""
        self.text(RESEARCH_USE_ONLY, x, y, size, colour, BOLD, anchor)

    def file(self) -> bytes:
        """The page as an SVG file in UTF-8."""
        width, height = self._size
        mm = _MM_PER_INCH / PAGE_DPI
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * mm:.2f}mm" height="{height * mm:.2f}mm"'
            f' viewBox="0 0 {width} {height}" font-family="{_FONTS}">'
        )
        paper = f'<rect width="{width}" height="{height}" fill="{_css(PAPER)}"/>'
        title = f"<title>{escape(self._title)}</title><desc>{escape(RESEARCH_USE_ONLY)}</desc>"
        return "\n".join([head, title, paper, *self._parts, "</svg>\n"]).encode("utf-8")


def _css(colour: Colour) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
