"""What a film looks like, beside any finding: text burned into its corners, and grey the wrong way round.

Both are flags for a person, from plain arithmetic on pixels: nothing is removed and nothing turned round.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import QualityFlag

_WORKING_SIDE = 1024  # pixels of the film's longer side at which glyphs are looked for
_CORNER_WIDTH = 0.34  # of the film
_CORNER_HEIGHT = 0.20
_STROKE = 15  # pixels; strokes of letters are thinner, anatomy is broader
_CONTRAST = 70  # grey levels between a stroke and its surroundings
_GLYPH_HEIGHTS = (7, 60)  # pixels
_MIN_GLYPHS = 5
"""Glyphs in one line that make text; a side marker ("L", "PA") has fewer."""
_MIN_INK = 60
"""Pixels of so many glyphs at least; most corners of most films have none at all."""
_LINE_SPREAD = 0.45  # of a glyph's height by which middles and heights of one line differ
_LINE_GAP = 1.8  # glyph heights between neighbours of one line

_BAND = (0.30, 0.65)  # rows between which lungs lie on a frontal film
_MIDDLE = (0.44, 0.56)  # columns of spine and heart
_LUNGS = ((0.20, 0.36), (0.64, 0.80))
_INVERTED_BELOW = -40.0
"""Grey levels by which the middle is darker than a lung where the sense of grey is wrong. On 70 frontal films
of NIH ChestX-ray14 the least is -6; a film shown the wrong way round has -89."""


def appearance_flags(grey: NDArray[np.uint8]) -> frozenset[QualityFlag]:
    """What a person should look at, of an upright film (H, W) uint8."""
    holds = {
        QualityFlag.BURNED_IN_TEXT: has_burned_in_text(grey),
        QualityFlag.LOOKS_INVERTED: looks_inverted(grey),
    }
    return frozenset(flag for flag, held in holds.items() if held)


def has_burned_in_text(grey: NDArray[np.uint8]) -> bool:
    """Whether a corner holds a line of glyphs: sharp, thin, equally high and side by side.

    Args:
        grey: (H, W) uint8 film.
    """
    height, width = grey.shape
    scale = min(1.0, _WORKING_SIDE / max(height, width))
    tall, wide = max(1, round(height * _CORNER_HEIGHT)), max(1, round(width * _CORNER_WIDTH))
    for rows in (slice(0, tall), slice(height - tall, height)):
        for columns in (slice(0, wide), slice(width - wide, width)):
            corner = grey[rows, columns]
            if scale < 1.0:
                size = (max(1, round(corner.shape[1] * scale)), max(1, round(corner.shape[0] * scale)))
                corner = np.asarray(cv2.resize(corner, size, interpolation=cv2.INTER_AREA), np.uint8)
            if _has_line(corner):
                return True
    return False


def _has_line(corner: NDArray[np.uint8]) -> bool:
    kernel = np.ones((_STROKE, _STROKE), np.uint8)
    # light on dark, or dark on light: there has to be ground that a stroke can stand out from
    levels = np.sort(corner[::8, ::8], axis=None)
    dark, light = int(levels[levels.size // 10]), int(levels[levels.size * 9 // 10])
    ways = ((cv2.MORPH_TOPHAT, dark < 255 - _CONTRAST), (cv2.MORPH_BLACKHAT, light > _CONTRAST))
    for how, possible in ways:
        if not possible:
            continue
        strokes = cv2.morphologyEx(corner, how, kernel, borderType=cv2.BORDER_REPLICATE)
        _, mask = cv2.threshold(strokes, _CONTRAST, 1, cv2.THRESH_BINARY)
        if cv2.countNonZero(mask) < _MIN_INK:
            continue
        # 16-bit labels are three times as fast, and a corner has far fewer than 65,536 pieces
        _, _, boxes, _ = cv2.connectedComponentsWithStatsWithAlgorithm(mask, 8, cv2.CV_16U, cv2.CCL_SPAGHETTI)
        if _longest_line(boxes[1:]) >= _MIN_GLYPHS:
            return True
    return False


def _longest_line(boxes: NDArray[Any]) -> int:
    """Most glyphs side by side; boxes are (N, 5): left, top, width, height, area."""
    tall, wide, area = boxes[:, 3], boxes[:, 2], boxes[:, 4]
    glyph = (tall >= _GLYPH_HEIGHTS[0]) & (tall <= _GLYPH_HEIGHTS[1]) & (wide <= 1.6 * tall)
    glyph &= area >= 0.12 * wide * tall
    found = boxes[glyph][np.argsort(boxes[glyph][:, 0])].astype(np.float64)
    longest = 0
    for first in range(len(found)):
        last, count = found[first], 1
        for following in found[first + 1 :]:
            height = max(last[3], following[3])
            gap = following[0] - (last[0] + last[2])
            middles = abs((following[1] + following[3] / 2) - (last[1] + last[3] / 2))
            alike = middles <= _LINE_SPREAD * height and abs(following[3] - last[3]) <= _LINE_SPREAD * height
            if alike and -0.2 * height <= gap <= _LINE_GAP * height:
                last, count = following, count + 1
        longest = max(longest, count)
    return longest


def looks_inverted(grey: NDArray[np.uint8]) -> bool:
    """Whether the middle of an upright film is far darker than a lung, as with black and white swapped."""
    height, width = grey.shape
    band = grey[int(_BAND[0] * height) : int(_BAND[1] * height)]
    if band.size == 0 or width < 32:
        return False
    middle, *lungs = (
        float(np.median(band[::4, int(low * width) : int(high * width)])) for low, high in (_MIDDLE, *_LUNGS)
    )
    return middle - min(lungs) < _INVERTED_BELOW
