"""One chromosome of a spread → a picture of it for the karyogram: upright, p arm up, alone on white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Chromosome, Polarity
from appliance.models.preprocessing import StainRange

_PRINT_DEPTH = 238.0
"""Grey levels between paper and darkest stain: full black would hide the contrast between dark bands."""
_EDGE_PX = 1.2
"""Image pixels from the outline out to the soft edge of the cut, so that the natural edge shows."""


@dataclass(frozen=True)
class Frame:
    """The turned outline of a chromosome, in image pixels."""

    turn_degrees: float  # counter-clockwise, the half turn for a q arm included
    left: float  # of the turned outline
    top: float
    width: float
    height: float


def upright_frame(chromosome: Chromosome) -> Frame:
    """Turn a chromosome's outline upright, with the p arm up where that is known."""
    turn = chromosome.angle_degrees + (180.0 if chromosome.polarity is Polarity.Q_ARM_UP else 0.0)
    points = np.array([point for polygon in chromosome.mask for point in polygon], dtype=np.float64)
    turned = points @ _rotation(turn).T
    left, top = turned.min(axis=0)
    right, bottom = turned.max(axis=0)
    return Frame(turn, float(left), float(top), float(right - left), float(bottom - top))


def draw_sprite(
    grey: NDArray[np.uint8],
    levels: StainRange,
    chromosome: Chromosome,
    frame: Frame,
    scale: float,
    neighbours: Sequence[Chromosome] = (),
) -> NDArray[np.uint8]:
    """Cut a chromosome out of its image.

    Args:
        grey: (H, W) uint8, the image that was analysed.
        levels: its grey levels of background and darkest stain.
        chromosome: to cut out.
        frame: of `upright_frame`.
        scale: sprite pixels per image pixel.
        neighbours: chromosomes that touch it; their stain is kept out of its soft edge.

    Returns:
        (ceil(frame.height * scale), ceil(frame.width * scale)) plus a soft margin; white is 255.
    """
    margin = sprite_margin(scale)
    width = math.ceil(frame.width * scale) + 2 * margin
    height = math.ceil(frame.height * scale) + 2 * margin
    linear = _rotation(frame.turn_degrees) * scale
    offset = np.array([margin - frame.left * scale, margin - frame.top * scale])
    # Outline coordinates count from pixel corners, the warp's from pixel centres: half a pixel on each side.
    centred = offset + linear @ np.array([0.5, 0.5]) - 0.5
    matrix = np.column_stack([linear, centred])
    how = cv2.INTER_CUBIC if scale >= 1.0 else cv2.INTER_AREA
    turned = cv2.warpAffine(grey, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
    tone = np.clip((levels.background - turned.astype(np.float32)) / max(levels.contrast, 1.0), 0.0, 1.0)
    own = _turned_mask([chromosome], linear, offset, (height, width))
    others = _turned_mask(neighbours, linear, offset, (height, width))
    weight = _soft_edge(own, others, scale)
    return np.asarray(np.round(255.0 - _PRINT_DEPTH * tone * weight), dtype=np.uint8)


def sprite_margin(scale: float) -> int:
    """Sprite pixels that `draw_sprite` leaves round the frame on each side."""
    return math.ceil(3.0 * _EDGE_PX * scale)


def _turned_mask(
    chromosomes: Sequence[Chromosome],
    linear: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.uint8]:
    shift = 4
    mask = np.zeros(shape, dtype=np.uint8)
    for polygon in (polygon for chromosome in chromosomes for polygon in chromosome.mask):
        points = (np.array(polygon) @ linear.T + offset - 0.5) * (1 << shift)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA, shift)
    return mask


def _soft_edge(own: NDArray[np.uint8], others: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """The mask, grown a little where nobody else is and blurred; what two share stays in both."""
    reach = max(1, round(_EDGE_PX * scale))
    grown = cv2.dilate(own, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    free = cv2.max(own, cv2.min(grown, cv2.bitwise_not(others)))
    soft = cv2.GaussianBlur(free.astype(np.float32), (0, 0), 0.5 * _EDGE_PX * scale)
    return np.asarray(soft / np.float32(255.0), dtype=np.float32)


def _rotation(turn_degrees: float) -> NDArray[np.float64]:
    """Counter-clockwise turn for coordinates with y pointing down."""
    radians = math.radians(turn_degrees)
    cosine, sine = math.cos(radians), math.sin(radians)
    return np.array([[cosine, sine], [-sine, cosine]])
