"""The figures of the accuracy report: how each is counted, with its interval over whole cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.karyotype.iscn import numerical_karyotype
from bench.karyotype_run import MIN_IOU, Reading, Stand
from bench.report import Target
from engine_builder.confidence import Judged, calibration_error
from engine_builder.metrics import (
    Boxes,
    Interval,
    ScoredImage,
    average_precision_interval,
    class_hits,
    cluster_bootstrap,
    match,
    share_interval,
)

OUTLINE_IOU = 0.7
"""Box overlap from which on nobody would draw the outline anew."""
_ROUNDS = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Metric:
    """A figure of the report."""

    name: str
    meaning: str
    interval: Interval
    target: Target | None = None


def spread_metrics(readings: Sequence[Reading]) -> Iterator[Metric]:
    """Everything that is counted on real spreads."""
    images = [each.scored for each in readings]
    yield Metric(
        "AP50", "average precision of the boxes reported, IoU 0.5", average_precision_interval(images, 0.5)
    )
    yield Metric("AP75", "the same at IoU 0.75", average_precision_interval(images, 0.75))
    yield Metric(
        "count exact",
        "spreads with as many objects as were marked",
        share_interval(images, lambda image: (int(len(image.scores) == len(image.true_boxes)), 1)),
        Target(0.85, at_most=False),
    )
    yield Metric(
        "segmentation",
        f"marked chromosomes that need no correction: one box alone agrees (IoU {OUTLINE_IOU}), it holds no"
        " second marked chromosome, and no surplus object lies in it",
        share_interval(images, uncorrected),
        Target(0.989, at_most=False),
    )
    yield Metric(
        "class",
        "right class among the objects found (IoU 0.5)",
        share_interval(images, lambda image: class_hits(image, MIN_IOU)),
        Target(0.95, at_most=False),
    )
    yield Metric(
        "found and right",
        "marked chromosomes that were found with the right class",
        share_interval(images, lambda image: (class_hits(image, MIN_IOU)[0], len(image.true_boxes))),
    )
    yield Metric(
        "whole spreads right",
        "spreads with every chromosome found, every class right and nothing else",
        share_interval(images, lambda image: (int(all_right(image)), 1)),
    )
    yield _ratio(
        "needs no expert",
        "objects found whose class is above the threshold of abstention",
        readings,
        lambda each: (int((~each.needs_expert & _found(each)).sum()), int(_found(each).sum())),
    )
    if any((_found(each) & ~each.needs_expert).any() for each in readings):
        yield _ratio(
            "class, where no expert is needed",
            "right class among those",
            readings,
            lambda each: (
                int((_right(each) & ~each.needs_expert).sum()),
                int((_found(each) & ~each.needs_expert).sum()),
            ),
        )
    yield _ratio(
        "karyotype stated",
        "spreads with an ISCN string",
        readings,
        lambda each: (int(each.iscn is not None), 1),
    )
    if any(each.iscn is not None for each in readings):
        yield _ratio(
            "stated and right",
            "ISCN strings that are those of the marked classes",
            readings,
            lambda each: (int(each.iscn == true_karyotype(each.scored)), int(each.iscn is not None)),
        )
    yield _calibration(
        "calibration error", "of the confidences reported", readings, lambda each: each.confidence
    )
    yield _calibration(
        "calibration error before",
        "of the classifier's own softmax for the same classes",
        readings,
        lambda each: each.alone,
    )


def stand_metrics(phantoms: Sequence[Stand], slides: Sequence[Stand]) -> Iterator[Metric]:
    """Orientation: there is no truth for real spreads, so phantoms and single chromosomes stand in."""
    for name, stands, source in (
        ("polarity, real", slides, "real single chromosomes of slides that training never saw"),
        ("polarity, phantoms", phantoms, "the chromosomes found in phantom spreads"),
    ):
        if not stands:
            continue
        target = Target(0.98, at_most=False) if stands is slides else None
        right = f"p arm up after the turn, where it is stated, of {source}"
        yield _ratio(name, right, stands, lambda s: (s.polarity_right, s.polarity_stated), target)
        stated = f"polarity stated at all, of {source}"
        yield _ratio(f"{name}, stated", stated, stands, lambda s: (s.polarity_stated, s.chromosomes))
    yield _ratio(
        "angle within 10°",
        "the chromosomes found in phantom spreads, against the line through the middles of both arms",
        phantoms,
        lambda s: (s.angle_right, s.chromosomes),
    )
    if any(stand.touching for stand in phantoms):
        yield _ratio(
            "touching ones parted",
            "phantom chromosomes that touch or overlap others and were found as one object each (IoU 0.5)",
            phantoms,
            lambda s: (s.touching_found, s.touching),
        )


def uncorrected(image: ScoredImage) -> tuple[int, int]:
    """Marked chromosomes of one spread that nobody has to correct, and all of them.

    KAYRA counts a chromosome as segmented if a person has to change nothing (arXiv 2604.26869). With boxes as
    truth: the object that takes the marked box agrees with it to OUTLINE_IOU; no marked box that went
    without an object lies mostly inside that object (two outlined as one); no object that took no marked box
    lies mostly inside the marked box (one outlined as two, or dirt on it).
    """
    taken = match(image, MIN_IOU)
    surplus, missed = taken < 0, np.ones(len(image.true_boxes), dtype=bool)
    missed[taken[~surplus]] = False
    pieces = _share_inside(image.boxes[surplus], image.true_boxes) > 0.5
    joined = _share_inside(image.true_boxes[missed], image.boxes) > 0.5
    right = 0
    for index, truth in enumerate(taken):
        if truth < 0 or joined[:, index].any() or pieces[:, truth].any():
            continue
        own, marked = image.boxes[index], image.true_boxes[truth]
        shared = np.prod(np.maximum(np.minimum(own[2:], marked[2:]) - np.maximum(own[:2], marked[:2]), 0.0))
        union = np.prod(own[2:] - own[:2]) + np.prod(marked[2:] - marked[:2]) - shared
        right += bool(shared >= OUTLINE_IOU * union)
    return right, len(image.true_boxes)


def all_right(image: ScoredImage) -> bool:
    """Whether nothing in a spread has to be corrected but outlines."""
    return class_hits(image, MIN_IOU)[0] == len(image.true_boxes) == len(image.scores)


def true_karyotype(image: ScoredImage) -> str | None:
    """The numerical karyotype of the marked classes, None where they make none."""
    try:
        return numerical_karyotype(Counter(CHROMOSOME_LABELS[label] for label in image.true_labels))
    except ValueError:
        return None


def judged(readings: Sequence[Reading], confidence: Callable[[Reading], NDArray[Any]]) -> Judged:
    """Confidences of the objects found, and whether their classes are right."""
    found = [_found(each) for each in readings]
    values = [confidence(each)[mask] for each, mask in zip(readings, found, strict=True)]
    right = [_right(each)[mask] for each, mask in zip(readings, found, strict=True)]
    return Judged(np.concatenate(values), np.concatenate(right))


def _found(reading: Reading) -> NDArray[Any]:
    return match(reading.scored, MIN_IOU) >= 0


def _right(reading: Reading) -> NDArray[Any]:
    image = reading.scored
    taken = match(image, MIN_IOU)
    right = taken >= 0
    right[right] = image.labels[right] == image.true_labels[taken[right]]
    return right


def _share_inside(small: Boxes, large: Boxes) -> NDArray[Any]:
    """(N, M) share of each small box that lies inside each large one."""
    low = np.maximum(small[:, None, :2], large[None, :, :2])
    high = np.minimum(small[:, None, 2:], large[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = np.prod(small[:, 2:] - small[:, :2], axis=1)
    return np.asarray(shared / np.maximum(areas, 1e-9)[:, None])


def _cluster(item: Reading | Stand) -> object:
    return item.scored.cluster if isinstance(item, Reading) else item.cluster


def _clusters(items: Sequence[T], cluster: Callable[[T], object]) -> dict[object, list[T]]:
    groups: dict[object, list[T]] = {}
    for item in items:
        groups.setdefault(cluster(item), []).append(item)
    return groups


def _ratio(
    name: str,
    meaning: str,
    items: Sequence[T],
    count: Callable[[T], tuple[int, int]],
    target: Target | None = None,
) -> Metric:
    def share(some: Sequence[T]) -> float:
        pairs = [count(item) for item in some]
        tries = sum(total for _, total in pairs)
        return sum(hits for hits, _ in pairs) / tries if tries else float("nan")

    value, low, high = cluster_bootstrap(_clusters(items, _cluster), share, _ROUNDS)  # type: ignore[arg-type]
    tries = sum(count(item)[1] for item in items)
    return Metric(name, meaning, Interval(value, low, high, tries), target)


def _calibration(
    name: str,
    meaning: str,
    readings: Sequence[Reading],
    confidence: Callable[[Reading], NDArray[Any]],
) -> Metric:
    pairs = [(each.scored.cluster, judged([each], confidence)) for each in readings if len(each.confidence)]

    def error(some: Sequence[tuple[object, Judged]]) -> float:
        parts = [part for _, part in some]
        return calibration_error(
            Judged(
                np.concatenate([part.confidence for part in parts]),
                np.concatenate([part.right for part in parts]),
            )
        )

    clusters = _clusters(pairs, lambda pair: pair[0])
    value, low, high = cluster_bootstrap(clusters, error, _ROUNDS)
    n = sum(len(part.right) for _, part in pairs)
    return Metric(name, f"expected calibration error {meaning}", Interval(value, low, high, n))
