"""A YOLO detector's output → boxes, scores and classes, in the layout that its contract says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceFailed
from appliance.models.film_contract import BOX_CHANNELS, ROW_COLUMNS, HeadLayout


@dataclass(frozen=True)
class Detections:
    """Boxes with one class each."""

    boxes: NDArray[np.float64]  # (N, 4) x0, y0, x1, y1 in input pixels
    scores: NDArray[np.float64]  # (N,) 0..1
    classes: NDArray[np.intp]  # (N,)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The detections at these indices."""
        return Detections(self.boxes[indices], self.scores[indices], self.classes[indices])


def decode(output: NDArray[np.floating], layout: HeadLayout, thresholds: NDArray[np.float64]) -> Detections:
    """Read the detections that reach their class's threshold.

    Args:
        output: (1, 4 + C, N) in the grid layout, (1, N, 6) in the end-to-end layout; either precision.
        layout: which of the two, as the contract says.
        thresholds: (C,) smallest score of each class, 0..1; infinite for a class that is never reported.

    Raises:
        InferenceFailed: for another shape, a number that is not finite, or a class that does not exist. An
            empty answer would read as "no finding".
    """
    number = len(thresholds)
    if not np.isfinite(output).all():
        raise InferenceFailed("expected finite detections and got NaN or infinity")
    rows = np.asarray(output, dtype=np.float32)
    if layout is HeadLayout.GRID and output.ndim == 3 and output.shape[:2] == (1, BOX_CHANNELS + number):
        return _decode_grid(rows[0], thresholds)
    if layout is HeadLayout.END_TO_END and output.ndim == 3 and output.shape[::2] == (1, ROW_COLUMNS):
        return _decode_end_to_end(rows[0], thresholds)
    wanted = f"(1, {BOX_CHANNELS + number}, N)" if layout is HeadLayout.GRID else f"(1, N, {ROW_COLUMNS})"
    raise InferenceFailed(f"expected detections of shape {wanted} and got {tuple(output.shape)}")


def _decode_grid(columns: NDArray[np.float32], thresholds: NDArray[np.float64]) -> Detections:
    scores = columns[4:]
    classes, anchors = np.nonzero(scores >= thresholds[:, None].astype(np.float32))
    centre_x, centre_y, width, height = columns[:4, anchors].astype(np.float64)
    boxes = np.stack(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2], axis=1
    )
    return Detections(boxes, scores[classes, anchors].astype(np.float64), classes)


def _decode_end_to_end(rows: NDArray[np.float32], thresholds: NDArray[np.float64]) -> Detections:
    classes = rows[:, 5].astype(np.intp)
    used = rows[:, 4] > 0.0
    wrong = used & ((classes < 0) | (classes >= len(thresholds)))
    if wrong.any():
        raise InferenceFailed(f"expected classes 0 to {len(thresholds) - 1} and got {int(classes[wrong][0])}")
    scores = rows[:, 4].astype(np.float64)
    keep = used & (scores >= thresholds[np.where(used, classes, 0)])
    return Detections(rows[keep, :4].astype(np.float64), scores[keep], classes[keep])


def suppress(found: Detections, max_iou: float, max_findings: int) -> Detections:
    """Class-wise greedy non-maximum suppression, best score first.

    Args:
        found: of `decode`.
        max_iou: a box that overlaps a better one of its own class by more than this is dropped.
        max_findings: most boxes to keep over all classes.
    """
    order = np.argsort(-found.scores, kind="stable")
    areas = np.prod(np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    while len(order) and len(kept) < max_findings:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(found.boxes[best, :2], found.boxes[rest, :2])
        high = np.minimum(found.boxes[best, 2:], found.boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0.0), axis=1)
        iou = shared / np.maximum(areas[best] + areas[rest] - shared, 1e-9)
        order = rest[(iou <= max_iou) | (found.classes[rest] != found.classes[best])]
    return found.take(np.array(kept, dtype=np.intp))
