"""Scores with intervals: average precision, exact counts, class accuracy; Wilson and cluster-bootstrap
intervals.

Pure arithmetic on boxes and labels, so that every number of the accuracy report can be checked by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.models.golden_objects import box_iou

Boxes = NDArray[np.float64]
"""(N, 4) as x0, y0, x1, y1 in pixels."""

RECALL_POINTS: Final = np.linspace(0.0, 1.0, 101)
"""COCO interpolates precision at these recalls (Lin et al., ECCV 2014, and pycocotools)."""
Z_95: Final = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

T = TypeVar("T")


@dataclass(frozen=True)
class ScoredImage:
    """What was found in one image and what is true of it."""

    boxes: Boxes
    scores: NDArray[np.float64]  # (N,)
    labels: NDArray[np.int64]  # (N,)
    true_boxes: Boxes
    true_labels: NDArray[np.int64]  # (M,)
    cluster: Hashable = field(
        default=None
    )  # what images share that are not independent: the case, the patient


@dataclass(frozen=True)
class Interval:
    """A share or a score with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # independent or clustered samples behind it, as the metric's documentation says


def match(image: ScoredImage, min_iou: float) -> NDArray[np.int64]:
    """For each detection the index of the true box that it takes, or -1.

    Detections choose in the order of their scores; each takes the free true box that it overlaps most, if the
    overlap reaches `min_iou` (pycocotools' rule, without its crowd regions and size classes).
    """
    taken = np.full(len(image.scores), -1, dtype=np.int64)
    if len(image.true_boxes) == 0 or len(image.scores) == 0:
        return taken
    overlaps = box_iou(image.boxes, image.true_boxes)
    free = np.ones(len(image.true_boxes), dtype=bool)
    for index in np.argsort(-image.scores, kind="stable"):
        candidates = np.where(free, overlaps[index], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= min_iou:
            taken[index] = best
            free[best] = False
    return taken


def average_precision(images: Sequence[ScoredImage], min_iou: float) -> float:
    """COCO-style average precision of the boxes alone, labels not looked at.

    Args:
        images: at least one with a true box.
        min_iou: 0.5 gives AP50, 0.75 gives AP75.

    Raises:
        ValueError: there is no true box at all.
    """
    return _precision_over_recall([_hits(image, min_iou) for image in images])


@dataclass(frozen=True)
class _Hits:
    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    true: int


def _hits(image: ScoredImage, min_iou: float) -> _Hits:
    return _Hits(image.scores, match(image, min_iou) >= 0, len(image.true_boxes))


def _precision_over_recall(hits: Sequence[_Hits]) -> float:
    total = sum(each.true for each in hits)
    if total == 0:
        raise ValueError("expected at least one true box and got none")
    scores = np.concatenate([each.scores for each in hits])
    hit = np.concatenate([each.hit for each in hits])[np.argsort(-scores, kind="stable")]
    if len(hit) == 0:
        return 0.0
    true_positives = np.cumsum(hit)
    recall = true_positives / total
    precision = true_positives / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALL_POINTS, side="left")
    reached = places < len(envelope)
    return float(np.where(reached, envelope[np.minimum(places, len(envelope) - 1)], 0.0).mean())


def average_precision_interval(
    images: Sequence[ScoredImage], min_iou: float, rounds: int = 1000, seed: int = 1
) -> Interval:
    """Average precision with a cluster-bootstrap interval; n is the number of true boxes."""
    hits = [(image.cluster, _hits(image, min_iou)) for image in images]
    clusters = _by_cluster(hits, lambda pair: pair[0])
    total = sum(len(image.true_boxes) for image in images)
    if total == 0:
        raise ValueError("expected at least one true box and got none")
    value, low, high = cluster_bootstrap(
        clusters, lambda pairs: _mean_precision([(each,) for _, each in pairs]), rounds, seed
    )
    return Interval(value, low, high, total)


def mean_average_precision_interval(
    classes: Sequence[Sequence[ScoredImage]], min_iou: float, rounds: int = 1000, seed: int = 1
) -> Interval:
    """Mean over classes of the average precision with a cluster-bootstrap interval; n counts the images.

    Args:
        classes: for each class the same images in the same order, with that class's boxes alone. A class
            without a true box in a resample is left out of that resample's mean.
        min_iou: overlap that makes a hit.
        rounds: bootstrap rounds.
        seed: of the resampling.

    Raises:
        ValueError: no class, or classes over different numbers of images.
    """
    if not classes or len({len(images) for images in classes}) != 1:
        raise ValueError("expected classes over the same images and got none, or different numbers of them")
    rows = [
        (images[0].cluster, tuple(_hits(image, min_iou) for image in images))
        for images in zip(*classes, strict=True)
    ]
    value, low, high = cluster_bootstrap(
        _by_cluster(rows, lambda row: row[0]),
        lambda some: _mean_precision([hits for _, hits in some]),
        rounds,
        seed,
    )
    return Interval(value, low, high, len(rows))


def _mean_precision(rows: Sequence[tuple[_Hits, ...]]) -> float:
    by_class = [list(hits) for hits in zip(*rows, strict=True)]
    present = [hits for hits in by_class if sum(each.true for each in hits)]
    return float(np.mean([_precision_over_recall(hits) for hits in present])) if present else math.nan


def exact_counts(images: Sequence[ScoredImage]) -> tuple[int, int]:
    """Images whose number of detections is the number of true boxes, and images in all."""
    exact = sum(len(image.scores) == len(image.true_boxes) for image in images)
    return exact, len(images)


def mean_count_error(images: Sequence[ScoredImage]) -> float:
    """Mean of |found - true| over the images.

    Raises:
        ValueError: without any image.
    """
    if not images:
        raise ValueError("expected at least one image and got none")
    return float(np.mean([abs(len(image.scores) - len(image.true_boxes)) for image in images]))


def class_hits(image: ScoredImage, min_iou: float = 0.5) -> tuple[int, int]:
    """Detections with the right label, and detections that took a true box, of one image."""
    taken = match(image, min_iou)
    found = taken >= 0
    right = image.labels[found] == image.true_labels[taken[found]]
    return int(right.sum()), int(found.sum())


def share_interval(
    images: Sequence[ScoredImage],
    count: Callable[[ScoredImage], tuple[int, int]],
    rounds: int = 1000,
    seed: int = 1,
) -> Interval:
    """A share summed over images with a cluster-bootstrap interval.

    Args:
        images: at least one.
        count: for one image hits and tries; the share is the sum of hits over the sum of tries.
        rounds: bootstrap rounds.
        seed: of the resampling.

    Raises:
        ValueError: no tries at all.
    """
    counts = [(image.cluster, count(image)) for image in images]
    tries = sum(total for _, (_, total) in counts)
    if tries == 0:
        raise ValueError("expected at least one try and got none")
    clusters = _by_cluster(counts, lambda pair: pair[0])
    value, low, high = cluster_bootstrap(clusters, _share, rounds, seed)
    return Interval(value, low, high, tries)


def _share(pairs: Sequence[tuple[Hashable, tuple[int, int]]]) -> float:
    tries = sum(total for _, (_, total) in pairs)
    return sum(hits for _, (hits, _) in pairs) / tries if tries else math.nan


def wilson(hits: int, tries: int, z: float = Z_95) -> Interval:
    """A share with Wilson's score interval (Wilson, J Am Stat Assoc 22:209, 1927), for independent tries.

    Raises:
        ValueError: no tries, or hits outside of 0…tries.
    """
    if tries < 1 or not 0 <= hits <= tries:
        raise ValueError(f"expected 0 to {max(tries, 0)} hits of at least one try and got {hits} of {tries}")
    share = hits / tries
    weight = 1.0 + z * z / tries
    centre = (share + z * z / (2 * tries)) / weight
    half = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries)) / weight
    # rounding must not push the ends of 0/n and n/n beyond the value itself
    return Interval(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share), tries)


def cluster_bootstrap(
    clusters: Mapping[Any, Sequence[T]],
    statistic: Callable[[Sequence[T]], float],
    rounds: int = 1000,
    seed: int = 1,
) -> tuple[float, float, float]:
    """A statistic with its percentile-bootstrap 95 % interval, whole clusters drawn with replacement.

    Objects of one case look alike, so the case is what is resampled (Field & Welsh, J R Stat Soc B 69:369,
    2007).

    Args:
        clusters: items by cluster, at least one cluster.
        statistic: of a list of items; a NaN (nothing to measure in a resample) is left out of the interval.
        rounds: resamples; 0 for the value alone, both ends are then the value.
        seed: of the resampling, so that a report can be repeated.

    Returns:
        Value on all items, low and high end.

    Raises:
        ValueError: without any cluster.
    """
    if not clusters:
        raise ValueError("expected at least one cluster and got none")
    groups = list(clusters.values())
    rng = np.random.default_rng(seed)
    value = statistic([item for group in groups for item in group])
    if rounds == 0:
        return value, value, value
    drawn = []
    for _ in range(rounds):
        chosen = rng.integers(0, len(groups), len(groups))
        drawn.append(statistic([item for index in chosen for item in groups[index]]))
    resampled = np.array(drawn, dtype=np.float64)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return value, float(low), float(high)


def _by_cluster(items: Sequence[T], key: Callable[[T], Hashable]) -> dict[Hashable, list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for index, item in enumerate(items):
        name = key(item)
        groups.setdefault(("alone", index) if name is None else name, []).append(item)
    return groups
