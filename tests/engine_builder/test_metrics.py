from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.models.golden_objects import box_iou
from engine_builder.metrics import (
    ScoredImage,
    average_precision,
    average_precision_interval,
    class_hits,
    cluster_bootstrap,
    exact_counts,
    match,
    mean_count_error,
    share_interval,
    wilson,
)

A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 0.0, 50.0, 10.0)
FAR = (100.0, 100.0, 110.0, 110.0)
Row = tuple[float, float, float, float]


def boxes(*rows: Row) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def image(
    found: list[Row],
    scores: list[float],
    true: list[Row],
    labels: list[int] | None = None,
    true_labels: list[int] | None = None,
    cluster: str | None = None,
) -> ScoredImage:
    return ScoredImage(
        boxes(*found),
        np.array(scores, dtype=np.float64),
        np.array(labels or [0] * len(found), dtype=np.int64),
        boxes(*true),
        np.array(true_labels or [0] * len(true), dtype=np.int64),
        cluster,
    )


def test_overlap_of_hand_computed_boxes() -> None:
    iou = box_iou(boxes(A, (0, 0, 0, 0)), boxes((5.0, 0.0, 15.0, 10.0), A, B))
    assert iou[0] == pytest.approx([50 / 150, 1.0, 0.0])
    assert iou[1] == pytest.approx([0.0, 0.0, 0.0])
    assert box_iou(boxes(), boxes(A)).shape == (0, 1)


def test_the_better_detection_takes_the_box_and_its_twin_is_false() -> None:
    twin = (1.0, 0.0, 11.0, 10.0)
    assert match(image([twin, A], [0.6, 0.9], [A]), 0.5).tolist() == [-1, 0]
    assert match(image([twin, A], [0.9, 0.6], [A, B]), 0.5).tolist() == [0, -1]
    assert match(image([twin], [0.9], [A]), 0.85).tolist() == [-1]
    assert match(image([], [], [A]), 0.5).tolist() == []
    assert match(image([A], [0.5], []), 0.5).tolist() == [-1]


def test_average_precision_of_hand_computed_cases() -> None:
    assert average_precision([image([A, B], [0.9, 0.8], [A, B])], 0.5) == 1.0
    assert average_precision([image([], [], [A])], 0.5) == 0.0
    # hit, miss, hit of two: precision 1 up to recall 0.5 (51 points), then 2/3 (50 points)
    mixed = image([A, FAR, B], [0.9, 0.8, 0.7], [A, B])
    assert average_precision([mixed], 0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)
    # one of three found: recall reaches 1/3, which is 34 of the 101 points
    assert average_precision([image([A], [0.9], [A, B, C])], 0.5) == pytest.approx(34 / 101)
    # the same detections spread over two images are ranked together
    split = [image([A], [0.9], [A]), image([FAR, B], [0.8, 0.7], [B])]
    assert average_precision(split, 0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)
    with pytest.raises(ValueError, match="expected at least one true box and got none"):
        average_precision([image([A], [0.9], [])], 0.5)


def test_a_stricter_overlap_gives_a_lower_score() -> None:
    shifted = image([(2.0, 0.0, 12.0, 10.0)], [0.9], [A])  # overlap 80 / 120
    assert average_precision([shifted], 0.5) == 1.0
    assert average_precision([shifted], 0.75) == 0.0


def test_counts() -> None:
    images = [image([A, B], [1, 1], [A, B]), image([A], [1], [A, B, C]), image([A], [1], [B])]
    assert exact_counts(images) == (2, 3)
    assert mean_count_error(images) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="expected at least one image and got none"):
        mean_count_error([])


def test_classes_are_judged_on_the_boxes_that_were_found() -> None:
    judged = image([A, B, FAR], [0.9, 0.8, 0.7], [A, B, C], labels=[4, 5, 6], true_labels=[4, 9, 6])
    assert class_hits(judged) == (1, 2)


def test_wilson_interval_of_published_values() -> None:
    # Newcombe, Stat Med 17:857 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for hits, tries, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(hits, tries)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20).high == 1.0
    for hits, tries in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="expected 0 to"):
            wilson(hits, tries)


def test_bootstrap_draws_whole_clusters() -> None:
    # all items of a cluster are equal: the share can only be 0, 1/2 or 1, however many items there are
    clusters = {"a": [1.0] * 500, "b": [0.0] * 500}
    value, low, high = cluster_bootstrap(clusters, lambda items: float(np.mean(items)), rounds=200)
    assert (value, low, high) == (0.5, 0.0, 1.0)
    independent = {index: [item] for index, item in enumerate([1.0] * 500 + [0.0] * 500)}
    _, low, high = cluster_bootstrap(independent, lambda items: float(np.mean(items)), rounds=200)
    assert low == pytest.approx(0.5 - 1.96 * math.sqrt(0.25 / 1000), abs=0.01)
    assert high == pytest.approx(0.5 + 1.96 * math.sqrt(0.25 / 1000), abs=0.01)
    assert cluster_bootstrap(clusters, len, rounds=5, seed=7) == cluster_bootstrap(
        clusters, len, rounds=5, seed=7
    )
    with pytest.raises(ValueError, match="expected at least one cluster and got none"):
        cluster_bootstrap({}, len)


def test_intervals_of_images_go_by_case() -> None:
    good = [image([A], [0.9], [A], [1], [1], cluster="case 1") for _ in range(5)]
    bad = [image([FAR], [0.9], [A], [1], [2], cluster="case 2") for _ in range(5)]
    precision = average_precision_interval(good + bad, 0.5, rounds=100)
    assert (precision.low, precision.high, precision.n) == (0.0, 1.0, 10)
    confused = [image([A], [0.9], [A], [1], [2], cluster="case 2") for _ in range(5)]
    share = share_interval(good + confused, class_hits, rounds=100)
    assert (share.value, share.low, share.high, share.n) == (0.5, 0.0, 1.0, 10)
    alone = share_interval([image([A], [0.9], [A], [1], [1]) for _ in range(3)], class_hits, rounds=10)
    assert (alone.low, alone.high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="expected at least one try and got none"):
        share_interval(bad, class_hits)
