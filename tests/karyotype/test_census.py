from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.karyotype.census import log_odds, take_census
from appliance.karyotype.settings import CensusSettings

SETTINGS = CensusSettings()


def census(*groups: tuple[int, float, float]) -> tuple[int, int]:
    """Groups of (number, detection confidence, class probability) → number kept, of them doubtful."""
    scores = np.concatenate([np.full(number, score) for number, score, _ in groups])
    best = np.concatenate([np.full(number, probability) for number, _, probability in groups])
    found = take_census(scores, best, SETTINGS)
    return len(found.kept), found.doubtful


def test_sure_objects_stay_whatever_their_number() -> None:
    for number in (44, 45, 46, 47, 48, 60):
        assert census((number, 0.97, 0.98)) == (number, 0)


def test_a_doubtful_object_fills_up_to_46_and_is_counted_as_doubtful() -> None:
    assert census((45, 0.97, 0.98), (1, 0.35, 0.4)) == (46, 1)
    assert census((46, 0.97, 0.98), (3, 0.35, 0.4)) == (46, 0)


def test_debris_is_not_called_a_chromosome_to_make_46() -> None:
    assert census((45, 0.97, 0.98), (4, 0.16, 0.15)) == (45, 0)


def test_half_a_spread_is_not_filled_up() -> None:
    assert census((22, 0.97, 0.98), (20, 0.3, 0.3)) == (22, 0)


def test_a_clear_class_speaks_for_a_weak_detection() -> None:
    assert log_odds(np.array([0.4]), np.array([0.95]), SETTINGS)[0] > 0
    assert log_odds(np.array([0.4]), np.array([0.15]), SETTINGS)[0] < 0


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), max_size=80))
def test_the_kept_ones_are_the_likeliest(pairs: list[tuple[float, float]]) -> None:
    scores, best = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = take_census(scores, best, SETTINGS)
    assert sorted(set(found.kept.tolist())) == found.kept.tolist()
    odds = log_odds(scores, best, SETTINGS)
    left = np.setdiff1d(np.arange(len(pairs)), found.kept)
    if len(left) and len(found.kept):
        assert odds[left].max() <= odds[found.kept].min()
    assert found.doubtful == int((odds[found.kept] < 0).sum())


def test_nothing_found() -> None:
    found = take_census(np.zeros(0), np.zeros(0), SETTINGS)
    assert found.kept.tolist() == []
    assert found.doubtful == 0


@pytest.mark.parametrize("certainty", [0.93, 0.99])
def test_a_trisomy_of_sure_objects_is_never_dropped(certainty: float) -> None:
    assert census((47, certainty, 0.9)) == (47, 0)
