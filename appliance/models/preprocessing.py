"""Pixels → network input, one implementation for training and serving, so that the two cannot drift apart.

Grey metaphase images are turned into *stain*: 0 is the field's background, 1 its darkest stain. Slides of
different exposure and lamps then look alike, and padding with 0 is padding with background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FIELD_SIZE: Final = 512
"""Side in pixels of the segmenter's and the detector's square input."""

FIELD_SCALE: Final = 0.5
"""Network pixels per image pixel: chromosomes 20-28 px wide in the image are 10-14 px wide for networks."""

CROP_HEIGHT: Final = 128
CROP_WIDTH: Final = 96
CROP_MEDIAN_AREA: Final = 850.0
"""The spread's median chromosome is scaled to cover this many crop pixels: size stays a feature."""

_MIN_CONTRAST: Final = 24.0
_STAIN_PERCENTILE: Final = 0.5


@dataclass(frozen=True)
class StainRange:
    """Grey levels (0..255) that become stain 0 and stain 1."""

    background: float
    darkest: float

    @property
    def contrast(self) -> float:
        """Grey levels between background and darkest stain."""
        return self.background - self.darkest


def stain_range(grey: NDArray[np.uint8]) -> StainRange:
    """Find background and darkest stain of a field.

    The background is the highest peak of the smoothed histogram above the median's half; the darkest stain is
    the 0.5th percentile, which a few specks of dirt cannot move.

    Args:
        grey: (H, W) uint8, dark stain on a light background.
    """
    histogram = cv2.calcHist([grey], [0], None, [256], [0.0, 256.0]).ravel().astype(np.float64)
    # Saturated white is a crop's or a scanner's fill as often as it is background: both are "no stain".
    smooth = np.convolve(histogram, np.ones(5) / 5.0, mode="same")
    cumulative = np.cumsum(histogram)
    median = int(np.searchsorted(cumulative, cumulative[-1] / 2.0))
    start = median // 2
    background = float(start + int(np.argmax(smooth[start:])))
    darkest = float(np.searchsorted(cumulative, cumulative[-1] * _STAIN_PERCENTILE / 100.0))
    return StainRange(background=background, darkest=min(darkest, background))


def normalise_stain(grey: NDArray[np.uint8], levels: StainRange | None = None) -> NDArray[np.float32]:
    """Turn grey levels into stain: background 0, darkest 1, clipped to [0, 1.25].

    Args:
        grey: (H, W) uint8.
        levels: the field's range when `grey` is only a part of it; measured on `grey` otherwise.

    Returns:
        (H, W) float32.
    """
    levels = levels or stain_range(grey)
    span = max(levels.contrast, _MIN_CONTRAST)
    table = np.clip((levels.background - np.arange(256, dtype=np.float32)) / span, 0.0, 1.25)
    return np.asarray(cv2.LUT(grey, table.astype(np.float32)), dtype=np.float32)


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a network's input: input_xy = image_xy * scale + (left, top)."""

    scale: float
    left: int
    top: int

    def to_image(self, xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (…, 2) points from the network's input back to the image, in pixels."""
        offset = np.array([self.left, self.top], dtype=np.float32)
        return np.asarray((xy - offset) / np.float32(self.scale), dtype=np.float32)

    def after(self, scale: float) -> Placement:
        """This placement for an image that was scaled by `scale` before it was placed."""
        return Placement(self.scale * scale, self.left, self.top)


def resize(image: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Resize with area averaging when shrinking, linear when growing."""
    shrinking = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.float32)


def field_input(
    stain: NDArray[np.float32], size: int = FIELD_SIZE, max_scale: float = FIELD_SCALE
) -> tuple[NDArray[np.float32], Placement]:
    """Letterbox a field into the square input of segmenter or detector; never above `max_scale`.

    Args:
        stain: (H, W) float32 of `normalise_stain`.
        size: side of the input in pixels.
        max_scale: network pixels per image pixel at most.

    Returns:
        (1, 1, size, size) float32 padded with background, and where the image lies in it.
    """
    height, width = stain.shape
    scale = min(max_scale, size / max(height, width))
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    placement = Placement(scale=scale, left=(size - inner_width) // 2, top=(size - inner_height) // 2)
    canvas = np.zeros((1, 1, size, size), dtype=np.float32)
    rows = slice(placement.top, placement.top + inner_height)
    columns = slice(placement.left, placement.left + inner_width)
    canvas[0, 0, rows, columns] = resize(stain, inner_width, inner_height)
    return canvas, placement


def long_axis_angle(mask: NDArray[np.bool_]) -> float:
    """Counter-clockwise turn in degrees, in (-90, 90], that brings a mask's long axis upright.

    The axis is the principal component of the mask's pixels.

    Args:
        mask: (H, W) bool with at least one pixel set.
    """
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    # Angle of the major axis against x, image y pointing down (Hu 1962: tan 2θ = 2µ11 / (µ20 - µ02)).
    theta = 0.5 * math.atan2(2.0 * moments["mu11"], moments["mu20"] - moments["mu02"])
    turn = math.degrees(theta) - 90.0
    return turn + 180.0 if turn <= -90.0 else turn


def crop_scale(areas: NDArray[np.float64]) -> float:
    """Crop pixels per image pixel for a spread whose chromosomes cover `areas` image pixels each."""
    return math.sqrt(CROP_MEDIAN_AREA / max(float(np.median(areas)), 1.0))


def _row_ends(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of each row's first and last pixel; the whole mask lies inside of their hull."""
    rows = np.flatnonzero(mask.any(axis=1))
    occupied = mask[rows]
    first = occupied.argmax(axis=1)
    last = mask.shape[1] - 1 - occupied[:, ::-1].argmax(axis=1)
    return np.concatenate([rows, rows]), np.concatenate([first, last])


def upright_crop(
    stain: NDArray[np.float32],
    mask: NDArray[np.bool_],
    scale: float,
    turn_degrees: float | None = None,
) -> NDArray[np.float32]:
    """One chromosome, turned upright, its neighbours masked out, at the spread's common scale.

    Args:
        stain: (H, W) float32 window that holds the chromosome.
        mask: (H, W) bool, the chromosome's pixels.
        scale: crop pixels per image pixel (`crop_scale`); reduced where the chromosome would not fit.
        turn_degrees: counter-clockwise turn; the long axis is brought upright where it is None.

    Returns:
        (CROP_HEIGHT, CROP_WIDTH) float32; 0 outside of the chromosome.
    """
    turn = long_axis_angle(mask) if turn_degrees is None else turn_degrees
    rows, columns = _row_ends(mask)
    radians = math.radians(turn)
    cosine, sine = math.cos(radians), math.sin(radians)
    # A counter-clockwise turn with y pointing down: x' = x·cos + y·sin, y' = -x·sin + y·cos.
    across = columns * cosine + rows * sine
    along = rows * cosine - columns * sine
    extent_across = float(across.max() - across.min()) + 3.0
    extent_along = float(along.max() - along.min()) + 3.0
    fitted = min(scale, (CROP_WIDTH - 2) / extent_across, (CROP_HEIGHT - 2) / extent_along)
    middle_across = (float(across.max()) + float(across.min())) / 2.0
    middle_along = (float(along.max()) + float(along.min())) / 2.0
    matrix = np.array(
        [
            [fitted * cosine, fitted * sine, CROP_WIDTH / 2.0 - 0.5 - fitted * middle_across],
            [-fitted * sine, fitted * cosine, CROP_HEIGHT / 2.0 - 0.5 - fitted * middle_along],
        ]
    )
    soft = cv2.blur(cv2.dilate(mask.astype(np.float32), np.ones((3, 3), np.uint8)), (3, 3))
    source = stain * soft
    if fitted < 0.6:
        # warpAffine samples four neighbours only: blur first when shrinking by more, against aliasing.
        source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.35 / fitted), dtype=np.float32)
    crop = cv2.warpAffine(source, matrix, (CROP_WIDTH, CROP_HEIGHT), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, dtype=np.float32)
