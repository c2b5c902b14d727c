"""Does a converted model find what the original finds? Counted in findings, not in tensor differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.decoding import Detections, decode, suppress
from appliance.chest_xray.settings import ChestXraySettings
from appliance.models.film_contract import FilmContract
from appliance.models.golden_objects import box_iou
from engine_builder.errors import BuildFailed
from engines.contract import Engine

MIN_IOU = 0.5
"""Overlap from which on two boxes of one class are one finding."""


@dataclass(frozen=True)
class FindingAgreement:
    """Findings of two models over the same films, at the pack's thresholds."""

    original: int  # found by the original
    converted: int
    shared: int  # found by both, each counted once

    @property
    def share(self) -> float:
        """F1: twice the shared findings over all of both, 0…1."""
        return 2 * self.shared / (self.original + self.converted)


def compare_findings(
    original: Engine,
    converted: Engine,
    contract: FilmContract,
    converted_contract: FilmContract,
    inputs: Sequence[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]],
    thresholds: NDArray[np.float64],
) -> FindingAgreement:
    """Run both on the same films and pair what they find.

    Args:
        original, converted: the two models.
        contract, converted_contract: how their outputs are read.
        inputs: the same films as inputs of the one and of the other.
        thresholds: (C,) smallest score of each class.

    Raises:
        BuildFailed: neither finds anything, so that nothing is compared.
    """
    totals = np.zeros(3, dtype=np.int64)
    for first, second in inputs:
        ours = _findings(original, contract, first, thresholds)
        theirs = _findings(converted, converted_contract, second, thresholds)
        totals += [len(ours), len(theirs), _pairs(ours, theirs)]
    if totals[:2].sum() == 0:
        raise BuildFailed(
            f"expected findings on at least one of {len(inputs)} films and got none: lower the thresholds, or"
            " bring films that show some (--films)"
        )
    return FindingAgreement(*(int(total) for total in totals))


def _findings(
    engine: Engine, contract: FilmContract, tensors: dict[str, NDArray[Any]], thresholds: NDArray[np.float64]
) -> Detections:
    settings = ChestXraySettings()
    output = engine.infer(tensors)[contract.output_name]
    return suppress(decode(output, contract.layout, thresholds), settings.max_iou, settings.max_findings)


def _pairs(first: Detections, second: Detections) -> int:
    """Findings of both, paired greedily by the first one's score."""
    overlaps = box_iou(first.boxes, second.boxes)
    overlaps[first.classes[:, None] != second.classes[None]] = 0.0
    free = np.ones(len(second), dtype=bool)
    shared = 0
    for row in overlaps:
        candidates = np.where(free, row, 0.0)
        if len(candidates) and candidates.max() >= MIN_IOU:
            free[int(candidates.argmax())] = False
            shared += 1
    return shared
