"""The joint assignment: optimal, normal sets cheap, nothing forbidden."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.karyotype.assignment import assign_classes, minimum_cost_assignment
from appliance.karyotype.settings import ClassSettings

SETTINGS = ClassSettings()


def certain(labels: list[str], certainty: float = 0.97) -> NDArray[np.float64]:
    probabilities = np.full((len(labels), 24), (1.0 - certainty) / 23)
    for row, label in enumerate(labels):
        probabilities[row, CHROMOSOME_LABELS.index(label)] = certainty
    return probabilities


def cell(sex: str) -> list[str]:
    return [str(n) for n in range(1, 23) for _ in range(2)] + list(sex)


def assigned(probabilities: NDArray[np.float64]) -> list[str]:
    return [CHROMOSOME_LABELS[i] for i in assign_classes(probabilities, SETTINGS)]


@pytest.mark.parametrize("seed", range(20))
def test_assignment_is_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 6))
    columns = int(rng.integers(rows, 7))
    cost = rng.normal(size=(rows, columns)) * 10
    chosen = minimum_cost_assignment(cost)
    assert len(set(chosen.tolist())) == rows
    cheapest = min(
        sum(cost[row, column] for row, column in enumerate(columns_of))
        for columns_of in itertools.permutations(range(columns), rows)
    )
    assert cost[np.arange(rows), chosen].sum() == pytest.approx(cheapest)


def test_assignment_refuses_costs_without_an_answer() -> None:
    with pytest.raises(ValueError, match="at least 3 columns for 3 rows and got 2"):
        minimum_cost_assignment(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="finite"):
        minimum_cost_assignment(np.array([[np.inf]]))


@pytest.mark.parametrize("sex", ["XX", "XY", "X", "XXY", "XYY"])
def test_certain_classes_stay_as_they_are(sex: str) -> None:
    assert assigned(certain(cell(sex))) == cell(sex)


def test_a_trisomy_is_paid_for_and_not_forbidden() -> None:
    labels = [*cell("XY"), "21"]
    assert assigned(certain(labels)) == labels


def test_a_doubtful_third_member_fills_the_gap() -> None:
    labels = cell("XX")
    probabilities = certain(labels)
    four = labels.index("4")
    probabilities[four, CHROMOSOME_LABELS.index("4")] = 0.30
    probabilities[four, CHROMOSOME_LABELS.index("5")] = 0.67
    assert probabilities[four].argmax() == CHROMOSOME_LABELS.index("5")
    assert assigned(probabilities) == labels


def test_two_swapped_classes_cost_more_than_the_right_ones() -> None:
    labels = cell("XX")
    probabilities = certain(labels)
    for row in (labels.index("9"), labels.index("9") + 1):
        probabilities[row, CHROMOSOME_LABELS.index("9")] = 0.45
        probabilities[row, CHROMOSOME_LABELS.index("11")] = 0.52
    assert Counter(assigned(probabilities)) == Counter(labels)


@pytest.mark.parametrize("number", [1, 8, 92, 140])
def test_any_number_of_objects_finds_classes(number: int) -> None:
    rng = np.random.default_rng(number)
    probabilities = rng.dirichlet(np.full(24, 0.1), size=number)
    assert len(assigned(probabilities)) == number


def test_impossible_probabilities_do_not_break_it() -> None:
    probabilities = np.zeros((48, 24))
    probabilities[:, 0] = 1.0
    answer = assigned(probabilities)
    assert len(answer) == 48
    assert "1" in answer
