"""Pairs the objects of a known answer with those that an engine found, so that the order of slots does not
matter.

A detector lists its objects in slots by falling score. Two runtimes round differently, two objects of nearly
equal score change places, and a comparison slot by slot would compare strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.models.manifest import ObjectMatching


@dataclass(frozen=True)
class PairedObjects:
    """Which slot of the known answer is which slot of the engine's."""

    expected: NDArray[np.intp]  # (N,) slots of the known answer
    actual: NDArray[np.intp]  # (N,) slots of the engine's answer
    share: float  # of the confident objects of either side, how many the other side has as well


def pair_objects(
    expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]], matching: ObjectMatching
) -> PairedObjects:
    """Pair every confident object of the known answer with the engine's nearest in place and score.

    Args:
        expected: outputs of the known answer.
        actual: outputs of the engine, in the same shapes.
        matching: names of boxes (1, N, 4) as corners and scores (1, N), or of rows (1, N, 6) twice, and
            when two objects are one.

    Returns:
        The pairs, and the smaller of two shares: confident known objects that the engine has, and confident
        objects of the engine that the known answer has, each at whatever score on the other side. The share
        is 0 where the known answer has no confident object.
    """
    known, found = (_boxes_and_scores(side, matching) for side in (expected, actual))
    overlaps = box_iou(known[0], found[0])
    same = overlaps >= matching.min_iou
    # boxes that suppression left side by side overlap alike: the score tells them apart
    likeness = np.where(same, overlaps - np.abs(known[1][:, None] - found[1][None]), -np.inf)
    confident = np.flatnonzero(known[1] >= matching.min_score)
    claimed = np.flatnonzero(found[1] >= matching.min_score)
    if not len(confident):
        return PairedObjects(confident, confident, 0.0)
    partners = likeness[confident].argmax(axis=1)
    paired = same[confident].any(axis=1)
    # one object of the engine cannot be two of the known answer
    distinct = len(np.unique(partners[paired]))
    backed = same[:, claimed].any(axis=0).mean() if len(claimed) else 1.0
    share = min(distinct / len(confident), float(backed))
    return PairedObjects(confident[paired], partners[paired], share)


def _boxes_and_scores(
    side: Mapping[str, NDArray[Any]], matching: ObjectMatching
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    boxes, scores = (side[name][0].astype(np.float64) for name in (matching.boxes, matching.scores))
    if matching.boxes == matching.scores:  # rows of corners, score and class
        return boxes[:, :4], boxes[:, 4]
    return boxes, scores


def box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every pair: (N, 4) and (M, 4) → (N, M); 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlaps: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps
