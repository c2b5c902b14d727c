"""A finished spread → its image with every chromosome outlined, named and given its confidence."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Chromosome, Spread
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, PAPER, QUIET, Canvas, Colour
from appliance.karyotype.label_places import place_labels
from appliance.karyotype.outline import fill
from appliance.karyotype.wording import flag_words

_TARGET_SIDE: Final = 2200
_MAX_MAGNIFICATION: Final = 2.0
_LABEL_SIZE: Final = 25
_CONFIDENCE_SIZE: Final = 16
_FOOT: Final = 140
_MIN_WIDTH: Final = 1080

_GROUPS: Final[tuple[tuple[str, tuple[str, ...], Colour], ...]] = (
    ("A", ("1", "2", "3"), (180, 92, 20)),
    ("B", ("4", "5"), (150, 130, 0)),
    ("C", ("6", "7", "8", "9", "10", "11", "12"), (60, 130, 20)),
    ("D", ("13", "14", "15"), (0, 120, 150)),
    ("E", ("16", "17", "18"), (20, 80, 210)),
    ("F", ("19", "20"), (40, 30, 190)),
    ("G", ("21", "22"), (120, 20, 170)),
    ("X, Y", ("X", "Y"), (170, 40, 110)),
)
"""Chromosome groups with a colour each, in the order of the colour circle."""

_COLOURS: Final[dict[str, Colour]] = {label: colour for _, labels, colour in _GROUPS for label in labels}


def draw_overlay(grey: NDArray[np.uint8], spread: Spread) -> bytes:
    """Draw the outlines, classes and confidences on the image that was analysed.

    Args:
        grey: (H, W) uint8.
        spread: what was found in it.

    Returns:
        A PNG file; small images are magnified so that the labels can be read.
    """
    height, width = grey.shape
    scale = min(_MAX_MAGNIFICATION, _TARGET_SIDE / max(height, width))
    image = Canvas.over(grey, scale)
    page = Canvas.blank(max(image.width, _MIN_WIDTH), image.height + _FOOT)
    page.pixels[: image.height, : image.width] = image.pixels
    for chromosome in spread.chromosomes:
        colour = _COLOURS[chromosome.label]
        for polygon in chromosome.mask:
            points = [(x * scale, y * scale) for x, y in polygon]
            page.outline(points, colour, 2, 0.10)
    region = spread.region
    page.dashed_box(region.x * scale, region.y * scale, region.width * scale, region.height * scale, QUIET)
    _draw_labels(page, grey.shape, spread, scale)
    _draw_foot(page, spread, image.height)
    return page.png()


def _draw_labels(page: Canvas, shape: tuple[int, ...], spread: Spread, scale: float) -> None:
    occupied = np.zeros(shape, dtype=np.uint8)
    for one in spread.chromosomes:
        mask, left, top = fill(one.mask, one.box)
        row, column = max(0, -top), max(0, -left)
        part = mask[row : shape[0] - top, column : shape[1] - left]
        occupied[top + row : top + row + part.shape[0], left + column : left + column + part.shape[1]] |= part
    sizes = [
        (_label_width(page, one) / scale, (_LABEL_SIZE + _CONFIDENCE_SIZE + 6) / scale)
        for one in spread.chromosomes
    ]
    places = place_labels([one.box for one in spread.chromosomes], sizes, occupied)
    for one, (x, y), (width, height) in zip(spread.chromosomes, places, sizes, strict=True):
        colour = _COLOURS[one.label]
        page.plate(x * scale, y * scale, width * scale, height * scale, PAPER, 0.72)
        middle = (x + width / 2.0) * scale
        page.text(one.label, middle, y * scale + _LABEL_SIZE - 3, _LABEL_SIZE, colour, BOLD, 0.5)
        text, ink = _confidence(one), AMBER if one.needs_expert else QUIET
        page.text(text, middle, (y + height) * scale - 5, _CONFIDENCE_SIZE, ink, BOLD, 0.5)


def _confidence(one: Chromosome) -> str:
    return f"{one.confidence * 100:.0f} %" + (" ?" if one.needs_expert else "")


def _label_width(page: Canvas, one: Chromosome) -> float:
    widest = max(
        page.measure(one.label, _LABEL_SIZE, BOLD), page.measure(_confidence(one), _CONFIDENCE_SIZE, BOLD)
    )
    return widest + 8.0


def _draw_foot(page: Canvas, spread: Spread, top: int) -> None:
    page.line(0, top + 0.5, page.width, top + 0.5, FAINT, 2)
    left, right = 24.0, page.width - 24.0
    title = spread.iscn if spread.iscn is not None else "karyotype withheld"
    page.text(f"{spread.count} chromosomes, {title}", left, top + 42.0, 28, INK, BOLD)
    page.text(", ".join(flag_words(spread.quality_flags)), left, top + 82.0, 20, QUIET)
    page.notice(22, INK, left, top + 120.0)
    x = right
    for name, labels, colour in reversed(_GROUPS):
        if any(one.label in labels for one in spread.chromosomes):
            x -= page.measure(name, 24, BOLD)
            page.text(name, x, top + 42.0, 24, colour, BOLD)
            x -= 26.0
