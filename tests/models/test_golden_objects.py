from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.models.golden_objects import pair_objects
from appliance.models.manifest import ObjectMatching

MATCHING = ObjectMatching(boxes="boxes", scores="scores", min_score=0.7, min_iou=0.7, min_share=0.9)
BOXES = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]

Outputs = dict[str, NDArray[Any]]


def outputs(boxes: list[list[float]], scores: list[float]) -> Outputs:
    padded = np.zeros((1, 5, 4), np.float16)
    padded[0, : len(boxes)] = np.reshape(boxes, (-1, 4))
    filled = np.zeros((1, 5), np.float32)
    filled[0, : len(scores)] = scores
    return {"boxes": padded, "scores": filled}


def test_objects_that_change_places_are_paired() -> None:
    known = outputs(BOXES, [0.9, 0.8, 0.3])
    swapped = outputs([BOXES[1], BOXES[0], BOXES[2]], [0.81, 0.8, 0.2])
    pairs = pair_objects(known, swapped, MATCHING)
    assert pairs.expected.tolist() == [0, 1]
    assert pairs.actual.tolist() == [1, 0]
    assert pairs.share == 1.0


def test_of_boxes_side_by_side_the_score_says_which_is_which() -> None:
    known = outputs([[0, 0, 10, 10]], [0.9])
    found = outputs([[0, 0, 10, 9], [0, 0, 10, 10]], [0.88, 0.2])
    assert pair_objects(known, found, MATCHING).actual.tolist() == [0]


@pytest.mark.parametrize(
    ("boxes", "scores", "share"),
    [
        (BOXES[:1], [0.9], 0.5),  # one is gone
        ([*BOXES[:2], [60, 0, 70, 10]], [0.9, 0.8, 0.75], 2 / 3),  # one came from nowhere
        ([BOXES[0], [25, 0, 35, 10]], [0.9, 0.8], 0.5),  # one is elsewhere
        ([], [], 0.0),
        ([[np.nan] * 4], [0.9], 0.0),
    ],
)
def test_what_is_missing_moved_or_invented_lowers_the_share(
    boxes: list[list[float]], scores: list[float], share: float
) -> None:
    pairs = pair_objects(outputs(BOXES, [0.9, 0.8, 0.3]), outputs(boxes, scores), MATCHING)
    assert pairs.share == pytest.approx(share)


def test_one_object_is_not_two() -> None:
    known = outputs([[0, 0, 10, 10], [0, 0, 10, 9]], [0.9, 0.85])
    assert pair_objects(known, outputs([[0, 0, 10, 10]], [0.9]), MATCHING).share == 0.5


def test_a_score_just_below_the_bound_is_still_the_object() -> None:
    found = outputs(BOXES, [0.9, 0.69, 0.3])
    assert pair_objects(outputs(BOXES, [0.9, 0.7, 0.3]), found, MATCHING).share == 1.0


def test_a_known_answer_without_objects_proves_nothing() -> None:
    assert pair_objects(outputs([], []), outputs([], []), MATCHING).share == 0.0
