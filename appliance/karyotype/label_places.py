"""Where labels go in a crowded spread: beside their object, on free ground, not on each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box

_GAP_PX = 2.0
_ON_LABEL = 3
"""Covering another label is worse than covering a chromosome by this factor."""


def place_labels(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], occupied: NDArray[np.uint8]
) -> list[tuple[float, float]]:
    """Choose a place for each label, the most hemmed-in object first.

    Args:
        boxes: of the objects, in image pixels.
        sizes: width and height of each label, in image pixels.
        occupied: (H, W) uint8, 1 where an object lies.

    Returns:
        Left and top of each label, in image pixels.
    """
    ground = occupied.astype(np.int32)
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(boxes)
    chances = [_candidates(box, size, occupied.shape) for box, size in zip(boxes, sizes, strict=True)]
    least = [
        min(_cost(ground, place, size) for place in options)
        for options, size in zip(chances, sizes, strict=True)
    ]
    for index in sorted(range(len(boxes)), key=lambda i: -least[i]):
        size = sizes[index]
        x, y = min(chances[index], key=lambda place: _cost(ground, place, size))
        places[index] = (x, y)
        ground[_window((x, y), size)] += _ON_LABEL
    return places


def _candidates(box: Box, size: tuple[float, float], shape: tuple[int, ...]) -> list[tuple[float, float]]:
    """Places round a box, from the corner up and right onwards, moved into the image."""
    width, height = size
    lefts = np.linspace(box.x - width - _GAP_PX, box.x + box.width + _GAP_PX, 7)
    tops = np.linspace(box.y - height - _GAP_PX, box.y + box.height + _GAP_PX, 7)
    around = [(x, y) for x in lefts for y in tops]
    centre = (box.x + (box.width - width) / 2.0, box.y + (box.height - height) / 2.0)
    around.sort(key=lambda place: (place[0] - centre[0]) ** 2 + (place[1] - centre[1]) ** 2)
    highest = (max(shape[1] - width, 0.0), max(shape[0] - height, 0.0))
    return [(float(np.clip(x, 0, highest[0])), float(np.clip(y, 0, highest[1]))) for x, y in around]


def _window(place: tuple[float, float], size: tuple[float, float]) -> tuple[slice, slice]:
    left, top = int(place[0]), int(place[1])
    return slice(top, int(np.ceil(place[1] + size[1]))), slice(left, int(np.ceil(place[0] + size[0])))


def _cost(ground: NDArray[np.int32], place: tuple[float, float], size: tuple[float, float]) -> int:
    return int(ground[_window(place, size)].sum())
