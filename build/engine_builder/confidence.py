"""Fits how a classifier's numbers become probabilities: temperatures and the thresholds of abstention.

Temperatures minimise the negative log-likelihood on validation data (Guo et al., ICML 2017); for the classes
that of the joint posterior of whole cells, because that is what is served. A threshold is the lowest at which
what passes it is right as often as the recipe asks (selective classification; Geifman and El-Yaniv, NeurIPS
2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.karyotype.assignment import assign_classes, nearest_normal, settle_classes
from appliance.karyotype.orientation import fuse_classes
from appliance.karyotype.posterior import joint_posterior
from appliance.karyotype.settings import ClassSettings
from appliance.models.manifest import Confidence
from appliance.models.pack import ModelPack
from engine_builder.errors import BuildFailed
from engine_builder.pack import write_manifest

_COOLEST, _HOTTEST = 0.2, 8.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_ROUNDS = 16
"""Of golden-section search: they leave 0.05 % of the interval."""


@dataclass(frozen=True)
class CellReading:
    """What a classifier said of the chromosomes of one cell, and what they are."""

    class_logits: NDArray[np.float32]  # (2 N, 24): N crops, then the same turned by half a turn
    labels: NDArray[np.int64]  # (N,) true classes, -1 where the truth is not known


@dataclass(frozen=True)
class Readings:
    """All validation readings of one classifier."""

    cells: Sequence[CellReading]
    polarity_logits: NDArray[np.float32]  # (2 M, 1): M crops with the p arm up, then the same turned


@dataclass(frozen=True)
class Judged:
    """Confidences and whether they were right."""

    confidence: NDArray[np.float64]  # (N,)
    right: NDArray[np.bool_]  # (N,)


def fit_confidence(readings: Readings, target_accuracy: float) -> Confidence:
    """Fit temperatures and thresholds.

    Args:
        readings: on validation data.
        target_accuracy: share that has to be right among what passes a threshold.

    Raises:
        BuildFailed: nothing to fit on.
    """
    if not readings.cells or not len(readings.polarity_logits):
        raise BuildFailed("expected validation readings of cells and of upright chromosomes and got none")
    class_temperature = _least(lambda t: class_loss(readings.cells, t))
    classes = judge_classes(readings.cells, class_temperature)
    evidence = _evidence(readings.polarity_logits)
    polarity_temperature = _least(lambda t: float(np.logaddexp(0.0, -evidence / t).mean()))
    polarity = judge_polarity(readings.polarity_logits, polarity_temperature)
    return Confidence(
        class_temperature=round(class_temperature, 4),
        polarity_temperature=round(polarity_temperature, 4),
        min_class=threshold_for(classes, target_accuracy, 0.0),
        # Upright chromosomes are easier than those of a spread, for which there is no truth: never below the
        # threshold that holds without a calibration.
        min_polarity=threshold_for(polarity, target_accuracy, ClassSettings().min_polarity_confidence),
        target_accuracy=target_accuracy,
        classes_n=len(classes.right),
        polarity_n=len(polarity.right),
    )


def class_loss(cells: Sequence[CellReading], temperature: float) -> float:
    """Mean negative log-likelihood of the true classes under the joint posterior, in nats."""
    losses = []
    for cell in cells:
        known = np.flatnonzero(cell.labels >= 0)
        posterior, _ = _settled(cell, temperature)
        losses.append(-np.log(np.maximum(posterior[known, cell.labels[known]], 1e-9)))
    return float(np.concatenate(losses).mean())


def judge_classes(cells: Sequence[CellReading], temperature: float) -> Judged:
    """How sure the served classes are at a temperature, and which of them are right."""
    confidence, right = [], []
    for cell in cells:
        known = np.flatnonzero(cell.labels >= 0)
        posterior, classes = _settled(cell, temperature)
        confidence.append(posterior[known, classes[known]])
        right.append(classes[known] == cell.labels[known])
    return Judged(np.concatenate(confidence), np.concatenate(right))


def judge_polarity(logits: NDArray[np.float32], temperature: float) -> Judged:
    """How sure the served polarity is at a temperature, and where it is right (p arm up)."""
    evidence = _evidence(logits) / temperature
    return Judged(1.0 / (1.0 + np.exp(-np.minimum(np.abs(evidence), 50.0))), evidence > 0)


def threshold_for(judged: Judged, target_accuracy: float, floor: float) -> float:
    """The lowest confidence from which on at least the target share is right; 1 where none is high enough.

    Args:
        judged: on validation data.
        target_accuracy: 0..1.
        floor: least threshold.
    """
    order = np.argsort(-judged.confidence, kind="stable")
    shares = np.cumsum(judged.right[order]) / np.arange(1, len(order) + 1)
    # Not before a hundred: the first few alone say nothing about a share.
    good = np.flatnonzero((shares >= target_accuracy) & (np.arange(len(order)) >= min(100, len(order) - 1)))
    if len(good) == 0:
        return 1.0
    if good[-1] == len(order) - 1:
        return floor
    return max(floor, math.ceil(float(judged.confidence[order][good[-1]]) * 1e4) / 1e4)


def calibration_error(judged: Judged, bins: int = 15) -> float:
    """Expected calibration error over bins of equal size: mean distance of confidence and share right."""
    order = np.argsort(judged.confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(judged.confidence[part].mean() - judged.right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / max(len(order), 1))


def write_confidence(pack: ModelPack, confidence: Confidence) -> ModelPack:
    """Give a finished pack another calibration; everything else in it stays as it is."""
    write_manifest(pack.manifest.model_copy(update={"confidence": confidence}), pack.directory)
    return ModelPack.open(pack.directory)


def _settled(cell: CellReading, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    settings = ClassSettings()
    probabilities = fuse_classes(cell.class_logits, temperature)
    normal = nearest_normal(assign_classes(probabilities, settings))
    posterior = joint_posterior(probabilities, normal, settings)
    return posterior, settle_classes(posterior, normal, settings)


def _evidence(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    up, turned = np.split(logits[:, 0].astype(np.float64), 2)
    return np.asarray((up - turned) / 2.0, dtype=np.float64)


def _least(loss: Callable[[float], float]) -> float:
    """Temperature of the least loss, by golden-section search over its logarithm."""
    low, high = math.log(_COOLEST), math.log(_HOTTEST)
    points = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(math.exp(point)) for point in points]
    for _ in range(_ROUNDS):
        if losses[0] <= losses[1]:
            high, points[1], losses[1] = points[1], points[0], losses[0]
            points[0] = high - _GOLDEN * (high - low)
            losses[0] = loss(math.exp(points[0]))
        else:
            low, points[0], losses[0] = points[0], points[1], losses[1]
            points[1] = low + _GOLDEN * (high - low)
            losses[1] = loss(math.exp(points[1]))
    return math.exp((low + high) / 2.0)
