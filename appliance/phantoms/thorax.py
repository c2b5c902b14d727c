"""Where lungs and heart lie on a frontal chest film, and how to guess that on a film without truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box

_WORK = 256
"""Side in pixels of the reduced film on which lungs are looked for."""


@dataclass(frozen=True)
class Thorax:
    """Landmarks of a frontal film in pixels; left and right are the image's sides, not the patient's."""

    left_lung: NDArray[np.bool_]  # (H, W)
    right_lung: NDArray[np.bool_]  # (H, W); the heart's apex lies against this one
    midline_x: float
    heart: Box
    measured: bool  # False where standard proportions stand in for lungs that could not be found

    @property
    def lungs(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Both lung masks, the image's left one first."""
        return self.left_lung, self.right_lung


def lung_box(lung: NDArray[np.bool_]) -> Box:
    """Tight box of a lung mask in pixels."""
    x, y, width, height = cv2.boundingRect(lung.astype(np.uint8))
    return Box(x=x, y=y, width=width, height=height)


def locate_thorax(film: NDArray[np.uint8]) -> Thorax:
    """Guess the lungs of a film: the two large dark areas that air outside of the body does not reach.

    Where no such pair is found (a white lung, a film on its side), standard proportions of a centred frontal
    film are used, which is good enough to paint on and no more.

    Args:
        film: (H, W) uint8, bone white.
    """
    small = cv2.GaussianBlur(cv2.resize(film, (_WORK, _WORK), interpolation=cv2.INTER_AREA), (0, 0), 3.0)
    found = _dark_pair(np.asarray(small, dtype=np.uint8))
    height, width = film.shape
    left, right = (
        cv2.resize(lung.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        for lung in found or _standard_pair()
    )
    return thorax_of(left, right, measured=found is not None)


def thorax_of(left: NDArray[np.bool_], right: NDArray[np.bool_], *, measured: bool = True) -> Thorax:
    """Landmarks that follow from the two (H, W) lung masks."""
    a, b = lung_box(left), lung_box(right)
    midline = 0.5 * (a.x + a.width + b.x)
    across = b.x + b.width - a.x
    low = min(a.y + a.height, b.y + b.height)
    tall = max(a.height, b.height)
    heart = Box(x=midline - 0.15 * across, y=low - 0.47 * tall, width=0.46 * across, height=0.44 * tall)
    return Thorax(left_lung=left, right_lung=right, midline_x=midline, heart=heart, measured=measured)


def _dark_pair(small: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Two (_WORK, _WORK) masks of lungs, or None where they cannot be told apart.

    Thin chest walls leak into the dark air outside: darker thresholds and larger openings are tried in turn.
    """
    centre = small[_WORK // 8 : -_WORK // 5, _WORK // 10 : -_WORK // 10]
    level, _ = cv2.threshold(centre, 0, 255, cv2.THRESH_OTSU)
    for share in (1.0, 0.92, 0.84, 0.76, 0.68):
        for opening in (5, 11):
            pair = _pair_below(small, share * level, opening)
            if pair is not None:
                return pair
    return None


def _pair_below(
    small: NDArray[np.uint8], level: float, opening: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    bright = (small > level).astype(np.uint8)
    wall = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((opening, opening), np.uint8))
    # Air outside of the body is dark as well: whatever hangs together with the border is not lung.
    flooded = cv2.copyMakeBorder(1 - np.asarray(wall), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(flooded, None, (0, 0), 0)
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(flooded[1:-1, 1:-1].astype(np.uint8))
    order = sorted(range(1, count), key=lambda i: int(stats[i, cv2.CC_STAT_AREA]), reverse=True)[:2]
    if len(order) < 2:
        return None
    order.sort(key=lambda i: float(centroids[i][0]))
    areas = [int(stats[i, cv2.CC_STAT_AREA]) for i in order]
    (ax, ay), (bx, by) = (centroids[i] / _WORK for i in order)
    upright = all(stats[i, cv2.CC_STAT_HEIGHT] > 1.05 * stats[i, cv2.CC_STAT_WIDTH] for i in order)
    beside = bx - ax > 0.18 and abs(by - ay) < 0.15 and ax < 0.52 and bx > 0.48
    if min(areas) < max(0.045 * _WORK**2, 0.4 * max(areas)) or not upright or not beside:
        return None
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    left, right = (
        cv2.morphologyEx((labels == i).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0 for i in order
    )
    return left, right


def _standard_pair() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    masks = []
    for centre_x, reach_x in ((0.30, 0.135), (0.71, 0.125)):
        mask = np.zeros((_WORK, _WORK), dtype=np.uint8)
        centre = (round(centre_x * _WORK), round(0.46 * _WORK))
        axes = (round(reach_x * _WORK), round(0.28 * _WORK))
        cv2.ellipse(mask, centre, axes, 0.0, 0.0, 360.0, (1,), -1)
        masks.append(mask > 0)
    return masks[0], masks[1]
