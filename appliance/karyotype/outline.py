"""Instance mask → outline: polygons and a box in pixels of the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box, Polygon
from appliance.karyotype.instances import Instance

_TOLERANCE_PX = 0.6
_OVERSAMPLE = 2


def outline(instance: Instance) -> tuple[Polygon, ...]:
    """Trace the mask's outer borders.

    The vertices lie beside the edges of the pixels (a quarter of a pixel inside), not on their centres, so
    that a polygon filled again covers the mask.

    Args:
        instance: mask with its place in the image.

    Returns:
        One polygon for each connected part, largest first.
    """
    # Traced on a doubled grid: there a border runs through quarter pixels, not through pixel centres.
    doubled = cv2.resize(
        instance.mask.view(np.uint8), None, fx=_OVERSAMPLE, fy=_OVERSAMPLE, interpolation=cv2.INTER_NEAREST
    )
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        simple = cv2.approxPolyDP(contour, _TOLERANCE_PX * _OVERSAMPLE, True).reshape(-1, 2)
        if len(simple) < 3:
            simple = contour.reshape(-1, 2)
        points = (simple.astype(np.float64) + 0.5) / _OVERSAMPLE + (instance.left, instance.top)
        polygons.append(tuple(map(tuple, points.tolist())))
    return tuple(polygons)


def bounding_box(instance: Instance) -> Box:
    """Box round the mask's pixels, from outer edge to outer edge."""
    height, width = instance.mask.shape
    return Box(float(instance.left), float(instance.top), float(width), float(height))


def fill(polygons: tuple[Polygon, ...], box: Box, margin_px: int = 0) -> tuple[NDArray[np.bool_], int, int]:
    """Turn an outline back into a mask, for drawing.

    Args:
        polygons: of `outline`.
        box: of the same object.
        margin_px: empty pixels to leave round the box.

    Returns:
        The mask (h, w), and the image column and row of its first pixel.
    """
    left, top = int(box.x) - margin_px, int(box.y) - margin_px
    width = int(np.ceil(box.x + box.width)) + margin_px - left
    height = int(np.ceil(box.y + box.height)) + margin_px - top
    shift = 4
    canvas = np.zeros((height, width), dtype=np.uint8)
    for polygon in polygons:
        # Drawing puts pixel centres on whole numbers: half a pixel away from the outline's edges.
        points = (np.array(polygon) - (left + 0.5, top + 0.5)) * (1 << shift)
        cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1, cv2.LINE_8, shift)
    return canvas > 0, left, top
