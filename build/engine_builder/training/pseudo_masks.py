"""Instance masks from boxes alone: stain threshold inside each box, minus what belongs to neighbours.

The metaphase set has one tight box per chromosome and no masks. Where only one box covers a stained pixel the
pixel belongs to that box's chromosome; where several do, it goes to the box whose certain pixels are nearest
when walking through stain only (a geodesic distance). Crossings are therefore split, not shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE: Final = np.ones((3, 3), np.uint8)
_FAR: Final = 10_000
_UNSEEDED: Final = 6
"""Distance given to every pixel of a box that lies wholly inside others: it wins against far neighbours."""


@dataclass(frozen=True)
class FieldLabels:
    """Labels of one field at the scale of the stain image they were made from."""

    instances: NDArray[np.int16]  # (H, W), 0 = none, n = box n-1
    classes: NDArray[np.uint8]  # (H, W), 0 background, 1 chromosome, 2 nucleus or debris, 255 unknown
    threshold: float  # stain above which a pixel counts as stained


def stain_threshold(stain: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Otsu's threshold (1979) over the pixels inside the boxes, lowered: light end bands are stain too."""
    values = np.clip(stain[inside] * 200.0, 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(np.clip(0.72 * otsu / 200.0, 0.10, 0.45))


def label_field(stain: NDArray[np.float32], boxes: NDArray[np.float32]) -> FieldLabels:
    """Label every pixel of a field with its chromosome and its class.

    Args:
        stain: (H, W) float32 of `normalise_stain`, at any scale.
        boxes: (N, 4) x, y, width, height in pixels of `stain`.
    """
    height, width = stain.shape
    corners = np.stack(
        [boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], axis=1
    )
    corners = np.round(corners).astype(int)
    corners[:, 0::2] = corners[:, 0::2].clip(0, width)
    corners[:, 1::2] = corners[:, 1::2].clip(0, height)
    cover = np.zeros((height, width), dtype=np.uint8)
    for x0, y0, x1, y1 in corners:
        cover[y0:y1, x0:x1] += 1
    threshold = stain_threshold(stain, cover > 0)
    stained = stain > threshold
    stained = cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_CLOSE, _CROSS) > 0

    best = np.full((height, width), _FAR, dtype=np.int32)
    instances = np.zeros((height, width), dtype=np.int16)
    for index, (x0, y0, x1, y1) in enumerate(corners):
        window = (slice(y0, y1), slice(x0, x1))
        distance = _walk(stained[window], cover[window] == 1, stained, (x0, y0, x1, y1))
        nearer = distance < best[window]
        best[window][nearer] = distance[nearer]
        instances[window][nearer] = index + 1
    for index, (x0, y0, x1, y1) in enumerate(corners):
        _keep_main_part(instances[y0:y1, x0:x1], index + 1)
    return FieldLabels(instances, _classes(stained, cover, instances), threshold)


def _walk(
    stained: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    field: NDArray[np.bool_],
    corner: tuple[int, int, int, int],
) -> NDArray[np.int32]:
    """Steps through stain from the pixels that are certainly this box's own."""
    seeds = stained & alone & ~_leaking(stained, field, corner)
    distance = np.full(stained.shape, _FAR, dtype=np.int32)
    if seeds.sum() < 0.12 * max(int(stained.sum()), 1):
        distance[stained] = _UNSEEDED
        return distance
    front = seeds.astype(np.uint8)
    distance[seeds] = 0
    passable = stained.astype(np.uint8)
    for step in range(1, 90):
        grown = np.asarray(cv2.dilate(front, _CROSS if step % 2 else _SQUARE), np.uint8) & passable
        fresh = (grown > 0) & (front == 0)
        if not fresh.any():
            break
        distance[fresh] = step
        front = grown
    return distance


def _leaking(
    stained: NDArray[np.bool_], field: NDArray[np.bool_], corner: tuple[int, int, int, int]
) -> NDArray[np.bool_]:
    """Parts inside the box that go on widely outside of it: a nucleus or dirt, not this chromosome."""
    x0, y0, x1, y1 = corner
    number, parts = cv2.connectedComponents(stained.astype(np.uint8))
    leaking = np.zeros_like(stained)
    if number <= 2:
        return leaking
    outer = np.zeros((y1 - y0 + 2, x1 - x0 + 2), dtype=bool)
    top, left = max(y0 - 1, 0), max(x0 - 1, 0)
    around = field[top : y1 + 1, left : x1 + 1]
    outer[top - y0 + 1 : top - y0 + 1 + around.shape[0], left - x0 + 1 : left - x0 + 1 + around.shape[1]] = (
        around
    )
    edge = np.zeros_like(stained)
    edge[0] |= outer[0, 1:-1]
    edge[-1] |= outer[-1, 1:-1]
    edge[:, 0] |= outer[1:-1, 0]
    edge[:, -1] |= outer[1:-1, -1]
    areas = np.bincount(parts.ravel(), minlength=number)
    crossing = np.bincount(parts[edge & stained], minlength=number)
    main = int(np.argmax(areas[1:] - 4 * crossing[1:])) + 1
    for part in range(1, number):
        if part != main and crossing[part] > 2:
            leaking |= parts == part
    return leaking


def _keep_main_part(window: NDArray[np.int16], label: int) -> None:
    """Drop crumbs of a label: every part smaller than an eighth of its largest one."""
    own = (window == label).astype(np.uint8)
    number, parts, stats, _ = cv2.connectedComponentsWithStats(own)
    if number <= 2:
        return
    areas = stats[1:, cv2.CC_STAT_AREA]
    for part in np.flatnonzero(areas * 8 < areas.max()) + 1:
        window[parts == part] = 0


def _classes(
    stained: NDArray[np.bool_], cover: NDArray[np.uint8], instances: NDArray[np.int16]
) -> NDArray[np.uint8]:
    """Three classes for the segmenter; outside of the boxes, stain is nucleus or debris."""
    classes = np.zeros(stained.shape, dtype=np.uint8)
    classes[stained & (cover == 0)] = 2
    classes[stained & (cover > 0)] = 255
    classes[instances > 0] = 1
    # A chromosome's rim outside of its box by one or two pixels is neither background nor nucleus.
    rim = (cv2.dilate((instances > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & (classes == 2)
    classes[rim] = 255
    return classes
