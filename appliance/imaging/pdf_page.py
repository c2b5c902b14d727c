"""A page as PDF, for print: the standard fonts, text that can be searched, no date and no machine in it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas as PdfCanvas

from appliance import RESEARCH_USE_ONLY
from appliance.imaging.drawing import BOLD, INK, REGULAR, Colour
from appliance.imaging.page import PAGE_DPI, ink_picture, ruler

_POINTS_PER_INCH = 72.0
_FONT, _BOLD_FONT = "Helvetica", "Helvetica-Bold"


class PdfPage:
    """One page; equal strokes give equal files.

    Args:
        width: page pixels.
        height: page pixels.
        title: of the document.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._height = height
        self._ruler = ruler()
        self._buffer = io.BytesIO()
        points = _POINTS_PER_INCH / PAGE_DPI
        self._pdf = PdfCanvas(self._buffer, pagesize=(width * points, height * points), invariant=1)
        self._pdf.setTitle(title)
        self._pdf.setSubject(RESEARCH_USE_ONLY)
        self._pdf.setCreator("appliance")
        self._pdf.scale(points, points)

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
        """Write a line of text, squeezed or stretched to the width that the layout reckons with."""
        font = _BOLD_FONT if weight >= BOLD else _FONT
        width = self.measure(text, size, weight)
        own = stringWidth(text, font, size)
        line = self._pdf.beginText(x - anchor * width, self._height - y)
        line.setFont(font, size)
        line.setFillColorRGB(*_rgb(colour))
        line.setHorizScale(100.0 * width / own if own > 0 else 100.0)
        line.textOut(text)
        self._pdf.drawText(line)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: int = 1) -> None:
        """Draw a straight line."""
        self._pdf.setStrokeColorRGB(*_rgb(colour))
        self._pdf.setLineWidth(thickness)
        self._pdf.setDash()
        self._pdf.line(x0, self._height - y0, x1, self._height - y1)

    def dashed_box(
        self, x: float, y: float, width: float, height: float, colour: Colour, dash: int = 10
    ) -> None:
        """Draw a rectangle of dashes."""
        self._pdf.setStrokeColorRGB(*_rgb(colour))
        self._pdf.setLineWidth(1)
        self._pdf.setDash([dash, dash])
        self._pdf.rect(x, self._height - y - height, width, height)

    def print_on(self, grey: NDArray[np.uint8], left: int, top: int) -> None:
        """Embed a grey picture as ink."""
        height, width = grey.shape
        picture = ImageReader(Picture.fromarray(ink_picture(grey), "RGBA"))
        self._pdf.drawImage(picture, left, self._height - top - height, width, height, mask="auto")

    def notice(self, size: int, colour: Colour, x: float, y: float, anchor: float = 0.0) -> None:
        """Write the research-use notice."""
        self.text(RESEARCH_USE_ONLY, x, y, size, colour, BOLD, anchor)

    def file(self) -> bytes:
        """The page as a PDF file; nothing can be drawn afterwards."""
        self._pdf.showPage()
        self._pdf.save()
        return self._buffer.getvalue()


def _rgb(colour: Colour) -> tuple[float, float, float]:
    blue, green, red = colour
    return red / 255.0, green / 255.0, blue / 255.0
