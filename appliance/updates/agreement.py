"""How far two models say the same of one input: 0 to 1, in the terms of the role's own task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.decoding import Detections, decode
from appliance.models.film_contract import BOX_CHANNELS, ROW_COLUMNS, HeadLayout
from appliance.models.golden_objects import box_iou
from appliance.models.manifest import Role

Outputs = Mapping[str, NDArray[Any]]
SURE = 0.5
FINDING_SCORE = 0.25
MIN_IOU = 0.5
MAX_CLASSES = 1024
"""Labels that a manifest may have."""


def agreement(role: Role, first: Outputs, second: Outputs) -> float:
    """Classifier: share of crops with the same class. Segmenter: Dice of the chromosomes' pixels. Detectors:
    share of objects that both have; 1 where neither has any.
    """
    return _RULES[role](first, second)


def _classes(first: Outputs, second: Outputs) -> float:
    same = first["class_logits"].argmax(axis=1) == second["class_logits"].argmax(axis=1)
    return float(same.mean()) if len(same) else 1.0


def _pixels(first: Outputs, second: Outputs) -> float:
    one, other = (outputs["logits"][0].argmax(axis=0) == 1 for outputs in (first, second))
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _boxes(first: Outputs, second: Outputs) -> float:
    one, other = (outputs["boxes"][0][outputs["scores"][0] >= SURE] for outputs in (first, second))
    return _shared(one, other)


def _findings(first: Outputs, second: Outputs) -> float:
    one, other = (_detections(next(iter(outputs.values()))) for outputs in (first, second))
    labels = np.union1d(one.classes, other.classes)
    shares = [_shared(one.boxes[one.classes == n], other.boxes[other.classes == n]) for n in labels]
    return float(np.mean(shares)) if shares else 1.0


def _detections(output: NDArray[Any]) -> Detections:
    layout = HeadLayout.END_TO_END if output.shape[2] == ROW_COLUMNS else HeadLayout.GRID
    classes = MAX_CLASSES if layout is HeadLayout.END_TO_END else output.shape[1] - BOX_CHANNELS
    return decode(output, layout, np.full(classes, FINDING_SCORE))


def _shared(one: NDArray[Any], other: NDArray[Any]) -> float:
    if not len(one) or not len(other):
        return float(len(one) == len(other))
    overlaps = box_iou(one.astype(np.float64), other.astype(np.float64)) >= MIN_IOU
    return float(min(overlaps.any(axis=1).mean(), overlaps.any(axis=0).mean()))


_RULES: Mapping[Role, Callable[[Outputs, Outputs], float]] = {
    Role.KARYOTYPE_CLASSIFIER: _classes,
    Role.KARYOTYPE_SEGMENTER: _pixels,
    Role.KARYOTYPE_DETECTOR: _boxes,
    Role.CHEST_XRAY_DETECTOR: _findings,
}
