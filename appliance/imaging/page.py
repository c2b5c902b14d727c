"""What a drawing that is made to be printed is drawn on: pixels, SVG and PDF take the same strokes."""

from __future__ import annotations

import enum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.imaging.drawing import INK, REGULAR, Canvas, Colour

PAGE_DPI: Final = 212.0
"""Page pixels per inch, so that 2480 × 1754 of them are A4 across."""


class PageFormat(enum.Enum):
    """Kind of file that a page becomes; the value is its suffix."""

    PNG = "png"  # pixels at PAGE_DPI
    SVG = "svg"  # text and lines as vectors, pictures embedded as PNG
    PDF = "pdf"  # the same for print


class Page(Protocol):
    """Coordinates are page pixels, x to the right and y down; colours are blue, green, red."""

    def measure(self, text: str, size: int, weight: int = REGULAR) -> int:
        """Width of a text in page pixels; the same on every kind of page."""
        ...

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
        """Write a line of text as `Canvas.text` does."""
        ...

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: int = 1) -> None:
        """Draw a straight line."""
        ...

    def dashed_box(
        self, x: float, y: float, width: float, height: float, colour: Colour, dash: int = 10
    ) -> None:
        """Draw a rectangle of dashes."""
        ...

    def print_on(self, grey: NDArray[np.uint8], left: int, top: int) -> None:
        """Print a grey picture like ink: white leaves the paper as it is."""
        ...

    def notice(self, size: int, colour: Colour, x: float, y: float, anchor: float = 0.0) -> None:
        """Write the research-use notice."""
        ...


def ruler() -> Canvas:
    """A canvas that only measures, for pages that have no pixels of their own."""
    return Canvas.blank(1, 1)


def ink_picture(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) black whose opacity is the darkness of `grey` (H, W): over white it looks the same."""
    picture = np.zeros((*grey.shape, 4), dtype=np.uint8)
    picture[..., 3] = 255 - grey
    return picture
