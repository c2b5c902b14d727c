"""A film with its findings drawn on it: boxes, labels, confidences and the notice."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Film, Finding, QualityFlag
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, PAPER, QUIET, Canvas, Colour

_TARGET_SIDE: Final = 1600
_LABEL_SIZE: Final = 24
_FOOT: Final = 92
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
}


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
    page = Canvas.blank(max(image.width, 900), image.height + _FOOT)
    page.pixels[: image.height] = _DARK
    left = (page.width - image.width) // 2
    page.pixels[: image.height, left : left + image.width] = image.pixels
    hues = {
        label: _HUES[i % len(_HUES)] for i, label in enumerate(sorted({one.label for one in film.findings}))
    }
    for finding in reversed(film.findings):
        _draw_box(page, finding, hues[finding.label], scale, left)
    taken: list[tuple[float, float, float, float]] = []
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
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a label over its box, or where that place is taken further down along the box's side."""
    text = f"{finding.label}  {finding.confidence * 100:.0f} %"
    width, height = page.measure(text, _LABEL_SIZE, BOLD) + 16.0, _LABEL_SIZE + 12.0
    x = min(max(finding.box.x * scale + left, 0.0), page.width - width)
    y = max(finding.box.y * scale - height, 0.0)
    while y + 2 * height < bottom and any(
        x < other[0] + other[2] and other[0] < x + width and y < other[1] + other[3] and other[1] < y + height
        for other in taken
    ):
        y += height / 2.0
    taken.append((x, y, width, height))
    page.plate(x, y, width, height, _DARK, 0.82)
    page.text(text, x + 8.0, y + _LABEL_SIZE + 1.0, _LABEL_SIZE, hue, BOLD)


def _draw_foot(page: Canvas, film: Film, top: int) -> None:
    page.plate(0, top, page.width, _FOOT, PAPER, 1.0)
    page.line(0, top + 0.5, page.width, top + 0.5, FAINT, 2)
    number = len(film.findings)
    title = (
        "no finding above its threshold" if number == 0 else f"{number} finding{'' if number == 1 else 's'}"
    )
    page.text(title, 24.0, top + 38.0, 26, INK, BOLD)
    page.notice(22, INK, 24.0, top + 74.0)
    for line, flag in enumerate(film.quality_flags[:2]):
        colour = AMBER if flag is QualityFlag.DEMONSTRATION_MODEL else QUIET
        page.text(
            _WORDS.get(flag, flag.value), page.width - 24.0, top + 38.0 + 36.0 * line, 22, colour, anchor=1.0
        )
