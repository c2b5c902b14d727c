from __future__ import annotations

import numpy as np

from bench.census import Candidates, fit, judge


def spreads(number: int = 40) -> list[Candidates]:
    """46 real objects, most of them sure, and some false ones, most of them doubtful."""
    rng = np.random.default_rng(5)
    made = []
    for index in range(number):
        real = np.arange(52) < 46
        odds = np.where(real, rng.normal(3.0, 1.2, 52), rng.normal(-1.5, 1.0, 52))
        best = np.clip(np.where(real, rng.normal(0.85, 0.1, 52), rng.normal(0.4, 0.1, 52)), 0.05, 1.0)
        made.append(Candidates(f"case {index // 2}", 1.0 / (1.0 + np.exp(-odds)), best, real, 46))
    return made


def test_both_kinds_of_evidence_count() -> None:
    fitted = fit(spreads())
    assert fitted.detector_weight > 0.3
    assert fitted.class_weight > 0.5


def test_a_price_brings_the_count_to_46() -> None:
    candidates = spreads()
    free, priced = judge(candidates, 0.0), judge(candidates, 1.5)
    assert priced[0] >= free[0]
    assert priced[0] > 0.8
    assert 0.95 < priced[1] <= 1.0
