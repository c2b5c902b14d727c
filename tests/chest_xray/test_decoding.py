"""Both output layouts of YOLO exports, thresholds and suppression."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.chest_xray.decoding import Detections, decode, suppress
from appliance.errors import InferenceFailed
from appliance.models.film_contract import HeadLayout

CLASSES = 3
LIMITS = np.array([0.5, 0.3, 0.9])


def grid(*rows: tuple[tuple[float, ...], tuple[float, ...]]) -> NDArray[np.float32]:
    output = np.zeros((1, 4 + CLASSES, 20), dtype=np.float32)
    for anchor, (box, scores) in enumerate(rows):
        output[0, :4, anchor] = box
        output[0, 4:, anchor] = scores
    return output


def end_to_end(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    output = np.zeros((1, 300, 6), dtype=np.float32)
    output[0, : len(rows)] = np.array(rows).reshape(-1, 6)
    return output


def layout(output: NDArray[np.float32]) -> HeadLayout:
    return HeadLayout.END_TO_END if output.shape[-1] == 6 else HeadLayout.GRID


def test_grid_layout_is_centre_and_size() -> None:
    found = decode(grid(((100, 50, 40, 20), (0.6, 0, 0))), HeadLayout.GRID, LIMITS)
    np.testing.assert_allclose(found.boxes, [[80, 40, 120, 60]])
    np.testing.assert_allclose(found.scores, [0.6], atol=1e-6)
    assert found.classes.tolist() == [0]


def test_each_class_has_its_own_threshold() -> None:
    found = decode(
        grid(((9, 9, 4, 4), (0.49, 0.31, 0.89)), ((9, 9, 4, 4), (0.5, 0.1, 0.95))), HeadLayout.GRID, LIMITS
    )
    assert sorted(found.classes.tolist()) == [0, 1, 2]


def test_end_to_end_layout_is_corners_score_class() -> None:
    found = decode(
        end_to_end((1, 2, 30, 40, 0.95, 2), (5, 5, 9, 9, 0.4, 1), (5, 5, 9, 9, 0.4, 0)),
        HeadLayout.END_TO_END,
        LIMITS,
    )
    np.testing.assert_allclose(found.boxes, [[1, 2, 30, 40], [5, 5, 9, 9]])
    assert found.classes.tolist() == [2, 1]


def test_both_layouts_agree() -> None:
    one = decode(grid(((100, 50, 40, 20), (0.6, 0, 0))), HeadLayout.GRID, LIMITS)
    other = decode(end_to_end((80, 40, 120, 60, 0.6, 0)), HeadLayout.END_TO_END, LIMITS)
    np.testing.assert_allclose(one.boxes, other.boxes)
    np.testing.assert_allclose(one.scores, other.scores)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((1, 6, 20), np.float32), r"shape \(1, 7, N\) and got \(1, 6, 20\)"),
        (np.zeros((7, 20), np.float32), "shape"),
        (np.full((1, 7, 20), np.nan, np.float32), "NaN or infinity"),
        (end_to_end((1, 2, 3, 4, 0.9, 3)), "classes 0 to 2 and got 3"),
        (end_to_end((1, 2, 3, 4, 0.9, -1)), "classes 0 to 2 and got -1"),
    ],
)
def test_a_wrong_answer_is_a_fault_and_not_a_clear_film(output: NDArray[np.float32], message: str) -> None:
    with pytest.raises(InferenceFailed, match=message):
        decode(output, layout(output), LIMITS)


def test_nothing_above_the_thresholds_is_an_empty_answer() -> None:
    assert len(decode(grid(), HeadLayout.GRID, LIMITS)) == 0
    assert len(decode(end_to_end(), HeadLayout.END_TO_END, LIMITS)) == 0


def test_suppression_is_class_wise_and_best_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60]], dtype=np.float64)
    found = Detections(boxes, np.array([0.6, 0.9, 0.7, 0.5]), np.array([0, 0, 1, 0]))
    kept = suppress(found, 0.45, 10)
    assert kept.scores.tolist() == [0.9, 0.7, 0.5]
    assert len(suppress(found, 0.45, 2)) == 2
    assert len(suppress(found, 0.95, 10)) == 4
    assert len(suppress(found.take(np.array([], dtype=np.intp)), 0.45, 10)) == 0


def test_suppression_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    corner, size = rng.uniform(0, 80, (120, 2)), rng.uniform(5, 40, (120, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    found = Detections(boxes, rng.uniform(size=120), rng.integers(0, 3, 120))
    kept: list[int] = []
    for index in np.argsort(-found.scores):
        for other in kept:
            low = np.maximum(boxes[index, :2], boxes[other, :2])
            high = np.minimum(boxes[index, 2:], boxes[other, 2:])
            shared = float(np.prod(np.maximum(high - low, 0)))
            union = float(np.prod(size[index]) + np.prod(size[other]) - shared)
            if found.classes[index] == found.classes[other] and shared / union > 0.45:
                break
        else:
            kept.append(int(index))
    np.testing.assert_array_equal(suppress(found, 0.45, 1000).boxes, boxes[kept])
