from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from bench.daemon import BenchedDaemon
from bench.soak import Course, Rest, Soak, exceeds, judge
from bench.soak_requests import ACTIONS, Requests

SECONDS = 20.0
BEFORE = Rest(threads=30, files=50, waiting=0, regions=0)


def course(*resident_mb: float) -> Course:
    return Course([float(n) for n in range(len(resident_mb))], list(resident_mb), Counter({"film: OK": 7}))


def test_memory_that_wanders_has_not_grown() -> None:
    assert course(100.0, 110.0, 90.0, 108.0, 95.0, 105.0).growth_over_noise() < 1.0


def test_memory_that_climbs_has_grown() -> None:
    steady = course(*(100.0 + 5.0 * n for n in range(40)))

    assert steady.growth_over_noise() >= 1.0
    assert steady.slope_mb_per_hour() == pytest.approx(18_000.0)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 4 samples"):
        course(1.0, 2.0).growth_over_noise()


def test_each_thing_left_over_misses_its_target() -> None:
    after = Rest(threads=31, files=52, waiting=1, regions=1)
    wrong = course(100.0, 100.0, 100.0, 100.0)
    wrong.wrong.append("film: INTERNAL")

    missed = [row.name for row in judge(BEFORE, after, wrong) if row.verdict == "missed"]

    assert exceeds(after, BEFORE)
    assert len(missed) == 5
    assert not exceeds(BEFORE, BEFORE)


@pytest.mark.slow
def test_nothing_is_left_over_after_a_short_soak(tmp_path: Path) -> None:
    with BenchedDaemon(tmp_path) as daemon, Requests(daemon.address) as requests:
        for name in ACTIONS:  # every kind at least once
            outcome, right = requests.carry_out(name, random.Random(3))
            assert right, f"{name}: {outcome}"
        before, after, seen = Soak(daemon, requests, 5, lambda _gone_s: None).run(SECONDS)

    assert not seen.wrong
    assert not exceeds(after, before), f"{before} → {after}"
