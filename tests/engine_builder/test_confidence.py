from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from engine_builder.confidence import (
    CellReading,
    Judged,
    Readings,
    calibration_error,
    fit_confidence,
    judge_classes,
    threshold_for,
)
from engine_builder.errors import BuildFailed

CLASSES = len(CHROMOSOME_LABELS)
NORMAL = [label for label in range(22) for _ in range(2)] + [22, 22]


def cells(rng: np.random.Generator, number: int, overstated: float) -> list[CellReading]:
    """Cells whose logits are log-probabilities times `overstated`: the temperature that is to be found."""
    made = []
    for _ in range(number):
        labels = np.array(NORMAL)
        logits = rng.normal(0.0, 1.0, (len(labels), CLASSES))
        logits[np.arange(len(labels)), labels] += 3.0
        view = (logits * overstated).astype(np.float32)
        made.append(CellReading(np.concatenate([view, view]), labels))
    return made


def polarity(rng: np.random.Generator, number: int, overstated: float) -> NDArray[np.float32]:
    evidence = rng.normal(2.0, 2.0, number)  # log-odds of this Gaussian are equal to the value itself
    logits = (evidence * overstated).astype(np.float32)
    return np.concatenate([logits, -logits])[:, None]


def test_temperatures_are_found_again() -> None:
    plain = fit_confidence(
        Readings(cells(np.random.default_rng(1), 12, 1.0), polarity(np.random.default_rng(2), 4000, 1.0)),
        0.98,
    )
    rng = np.random.default_rng(1)
    doubled = fit_confidence(
        Readings(cells(rng, 12, 2.0), polarity(np.random.default_rng(2), 4000, 3.0)), 0.98
    )
    assert doubled.class_temperature == pytest.approx(2.0 * plain.class_temperature, rel=0.05)
    assert plain.polarity_temperature == pytest.approx(1.0, abs=0.1)
    assert doubled.polarity_temperature == pytest.approx(3.0 * plain.polarity_temperature, rel=0.05)
    assert doubled.classes_n == 12 * 46
    assert doubled.polarity_n == 4000


def test_calibration_lowers_the_error() -> None:
    readings = cells(np.random.default_rng(3), 12, 3.0)
    fitted = fit_confidence(Readings(readings, polarity(np.random.default_rng(2), 400, 1.0)), 0.98)
    before = calibration_error(judge_classes(readings, 1.0))
    assert calibration_error(judge_classes(readings, fitted.class_temperature)) < before


def test_unknown_truth_is_left_out() -> None:
    reading = cells(np.random.default_rng(4), 1, 1.0)[0]
    labels = reading.labels.copy()
    labels[:6] = -1
    assert len(judge_classes([CellReading(reading.class_logits, labels)], 1.0).right) == 40


def test_the_threshold_is_the_lowest_that_keeps_the_target() -> None:
    confidence = np.linspace(0.0, 1.0, 1001)
    right = confidence >= 0.4
    judged = Judged(confidence, right)
    threshold = threshold_for(judged, 0.95, 0.0)
    assert right[confidence >= threshold].mean() >= 0.95
    assert right[confidence >= threshold - 0.01].mean() < 0.95
    assert threshold_for(judged, 0.95, 0.5) == 0.5
    assert threshold_for(Judged(confidence, np.ones(1001, bool)), 0.98, 0.0) == 0.0
    assert threshold_for(Judged(confidence, np.zeros(1001, bool)), 0.98, 0.0) == 1.0


def test_nothing_to_fit_on() -> None:
    with pytest.raises(BuildFailed, match="got none"):
        fit_confidence(Readings([], np.zeros((0, 1), np.float32)), 0.98)


def test_calibration_error_by_hand() -> None:
    judged = Judged(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, False, False]))
    assert calibration_error(judged, bins=1) == pytest.approx(0.4)
