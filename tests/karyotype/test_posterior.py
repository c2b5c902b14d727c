from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.karyotype.assignment import assign_classes, nearest_normal, settle_classes
from appliance.karyotype.posterior import joint_posterior
from appliance.karyotype.settings import ClassSettings

SETTINGS = ClassSettings()
CLASSES = len(CHROMOSOME_LABELS)
FEMALE = nearest_normal(np.array([0]))


def cell(karyotype: list[str], certainty: float = 0.95) -> NDArray[np.float64]:
    probabilities = np.full((len(karyotype), CLASSES), (1.0 - certainty) / (CLASSES - 1))
    for row, label in enumerate(karyotype):
        probabilities[row, CHROMOSOME_LABELS.index(label)] = certainty
    return probabilities


def normal_cell(sex: str = "XX") -> list[str]:
    return [label for label in CHROMOSOME_LABELS[:22] for _ in range(2)] + list(sex)


def by_enumeration(probabilities: NDArray[np.float64], normal: NDArray[np.intp]) -> NDArray[np.float64]:
    """The same marginals from every possible assignment, for a handful of objects."""
    price = SETTINGS.extra_member_price
    marginals = np.zeros_like(probabilities)
    for classes in itertools.product(range(CLASSES), repeat=len(probabilities)):
        counts = np.bincount(classes, minlength=CLASSES)
        missing, extra = np.maximum(normal - counts, 0), np.maximum(counts - normal, 0)
        cost = missing.sum() * SETTINGS.missing_member_price + ((2.0**extra - 1.0) * price).sum()
        weight = np.exp(-cost) * np.prod([probabilities[i, k] for i, k in enumerate(classes)])
        for i, k in enumerate(classes):
            marginals[i, k] += weight
    return marginals / marginals.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_close_to_the_exact_marginals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, (3, CLASSES))
    logits[:, :2] += 5.0  # three objects that all look like a 1 or a 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    exact = by_enumeration(probabilities, FEMALE)
    assert np.abs(joint_posterior(probabilities, FEMALE, SETTINGS) - exact).max() < 0.03


def test_the_rest_of_the_cell_settles_a_doubt() -> None:
    probabilities = cell(normal_cell())
    doubtful = CHROMOSOME_LABELS.index("4") * 2
    probabilities[doubtful] = 1e-4
    probabilities[doubtful, [3, 4]] = 0.4, 0.6
    posterior = joint_posterior(probabilities / probabilities.sum(1, keepdims=True), FEMALE, SETTINGS)
    assert posterior[doubtful, 3] > 0.95


def test_a_trisomy_stays_visible() -> None:
    probabilities = cell([*normal_cell(), "21"])
    posterior = joint_posterior(probabilities, FEMALE, SETTINGS)
    classes = settle_classes(posterior, FEMALE, SETTINGS)
    assert np.bincount(classes, minlength=CLASSES)[20] == 3
    thirds = posterior[classes == 20, 20]
    assert thirds.min() > 0.6


def test_ties_leave_no_class_empty() -> None:
    """Two objects, both a little more 4 than 5, beside one of each: two 4 and two 5 are expected."""
    labels = [label for label in normal_cell() if label not in ("4", "5")] + ["4", "5"]
    probabilities = np.concatenate([cell(labels, 0.99), np.full((2, CLASSES), 1e-5)])
    probabilities[-2:, 3], probabilities[-2:, 4] = 0.51, 0.49
    normal = nearest_normal(assign_classes(probabilities, SETTINGS))
    classes = settle_classes(joint_posterior(probabilities, normal, SETTINGS), normal, SETTINGS)
    assert sorted(classes[-2:].tolist()) == [3, 4]


@settings(max_examples=30, deadline=None)
@given(number=st.integers(1, 70), seed=st.integers(0, 1000), sharpness=st.floats(0.1, 12.0))
def test_always_a_distribution(number: int, seed: int, sharpness: float) -> None:
    logits = np.random.default_rng(seed).normal(0.0, sharpness, (number, CLASSES))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    posterior = joint_posterior(powers / powers.sum(axis=1, keepdims=True), FEMALE, SETTINGS)
    assert np.isfinite(posterior).all()
    assert (posterior >= 0).all()
    assert posterior.sum(axis=1) == pytest.approx(np.ones(number))
    assert len(settle_classes(posterior, FEMALE, SETTINGS)) == number
