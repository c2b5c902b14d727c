"""A film with its findings drawn on it: boxes, labels, confidences and the notice."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Film, Finding, QualityFlag
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, PAPER, QUIET, Canvas, Colour

_TARGET_SIDE: Final = 1600
_LABEL_SIZE: Final = 24
_FOOT: Final = 92  # pixels, with up to two flags
_FLAG_LINE: Final = 36
_DARK: Final[Colour] = (24, 20, 18)

_HUES: Final[tuple[Colour, ...]] = (
    (120, 220, 255),
    (255, 210, 110),
    (140, 255, 170),
    (210, 160, 255),
    (110, 190, 255),
    (255, 240, 140),
    (180, 180, 255),
)
"""Light colours that stand out from a film; a label always has the same one."""

_WORDS: Final[dict[QualityFlag, str]] = {
    QualityFlag.LOW_CONTRAST: "low contrast",
    QualityFlag.DETECTION_LIMIT: "detection limit reached, some findings may be missing",
    QualityFlag.DEMONSTRATION_MODEL: "demonstration model, trained on painted findings",
    QualityFlag.VIEW_NOT_STATED: "view not stated",
    QualityFlag.BODY_PART_NOT_STATED: "body part not stated",
    QualityFlag.TURNED_UPRIGHT: "turned upright for the analysis, as the header says",
    QualityFlag.BURNED_IN_TEXT: "text is burned into the film",
    QualityFlag.LOOKS_INVERTED: "black and white look swapped",
}

_Plate = tuple[float, float, float, float]
"""Left, top, width and height of a label, in pixels of the page."""


def draw_overlay(grey: NDArray[np.uint8], film: Film) -> bytes:
    """Draw the findings on the film that was analysed.

    Args:
        grey: (H, W) uint8.
        film: what was found on it.

    Returns:
        A PNG file whose longer side is about 1600 pixels.
    """
    scale = _TARGET_SIDE / max(grey.shape)
    image = Canvas.over(grey, scale)
    page = Canvas.blank(max(image.width, 900), image.height + _foot_height(film))
    page.pixels[: image.height] = _DARK
    left = (page.width - image.width) // 2
    page.pixels[: image.height, left : left + image.width] = image.pixels
    hues = {
        label: _HUES[i % len(_HUES)] for i, label in enumerate(sorted({one.label for one in film.findings}))
    }
    for finding in reversed(film.findings):
        _draw_box(page, finding, hues[finding.label], scale, left)
    taken: list[_Plate] = []
    for finding in film.findings:
        _draw_label(page, finding, hues[finding.label], scale, left, image.height, taken)
    _draw_foot(page, film, image.height)
    return page.png()


def _draw_box(page: Canvas, finding: Finding, hue: Colour, scale: float, left: int) -> None:
    box = finding.box
    x, y = box.x * scale + left, box.y * scale
    page.box(x, y, box.width * scale, box.height * scale, _DARK, 5)
    page.box(x, y, box.width * scale, box.height * scale, hue, 2)


def _draw_label(
    page: Canvas,
    finding: Finding,
    hue: Colour,
    scale: float,
    left: int,
    bottom: int,
    taken: list[_Plate],
) -> None:
    """Write a label above its box, or else below or beside it: where it covers no other label."""
    text = f"{finding.label}  {finding.confidence * 100:.0f} %"
    width, height = page.measure(text, _LABEL_SIZE, BOLD) + 16.0, _LABEL_SIZE + 12.0
    x0, y0 = finding.box.x * scale + left, finding.box.y * scale
    x1, y1 = x0 + finding.box.width * scale, y0 + finding.box.height * scale
    places = [
        (x0, y0 - height),
        (x0, y1),
        (x1, y0),
        (x0 - width, y0),
        (x1 - width, y0 - height),
        (x1 - width, y1),
    ]
    inside = [
        (min(max(x, 0.0), page.width - width), min(max(y, 0.0), bottom - height), width, height)
        for x, y in places
    ]
    plate = next((one for one in inside if not any(_meet(one, other) for other in taken)), inside[0])
    taken.append(plate)
    page.plate(*plate, _DARK, 0.82)
    page.text(text, plate[0] + 8.0, plate[1] + _LABEL_SIZE + 1.0, _LABEL_SIZE, hue, BOLD)


def _meet(one: _Plate, other: _Plate) -> bool:
    across = one[0] < other[0] + other[2] and other[0] < one[0] + one[2]
    return across and one[1] < other[1] + other[3] and other[1] < one[1] + one[3]


def _foot_height(film: Film) -> int:
    """Room for the title and for every flag: none is left out."""
    return _FOOT + _FLAG_LINE * max(0, len(film.quality_flags) - 2)


def _draw_foot(page: Canvas, film: Film, top: int) -> None:
    page.plate(0, top, page.width, _foot_height(film), PAPER, 1.0)
    page.line(0, top + 0.5, page.width, top + 0.5, FAINT, 2)
    number = len(film.findings)
    title = (
        "no finding above its threshold" if number == 0 else f"{number} finding{'' if number == 1 else 's'}"
    )
    page.text(title, 24.0, top + 38.0, 26, INK, BOLD)
    page.notice(22, INK, 24.0, top + 74.0)
    for line, flag in enumerate(film.quality_flags):
        colour = AMBER if flag is QualityFlag.DEMONSTRATION_MODEL else QUIET
        page.text(
            _WORDS.get(flag, flag.value),
            page.width - 24.0,
            top + 38.0 + _FLAG_LINE * line,
            22,
            colour,
            anchor=1.0,
        )
