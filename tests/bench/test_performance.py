from __future__ import annotations

from typing import Any

from bench.performance import SECTIONS, document

RESULT: dict[str, Any] = {
    "commit": "0123456789ab",
    "machine": {"cores": 2, "processor": "A CPU", "memory_gib": 8.0, "python": "3.11.7"},
    "rows": [
        {"name": "fast enough", "value": 0.97, "unit": "", "low": 0.96, "high": 0.98, "target": ">= 0.95"},
        {"name": "too slow", "value": 1234.5, "unit": "ms", "low": 1200.0, "high": 1300.0, "target": "<= 60"},
        {"name": "told", "value": 14.55, "unit": "films/s", "low": 14.0, "high": 15.0, "target": None},
    ],
}


def test_every_row_with_its_target_and_verdict() -> None:
    text = document({"xray": RESULT})
    assert "| fast enough | 0.97  | 0.96 to 0.98 | >= 0.95, met |" in text
    assert "| too slow | 1,234 ms | 1,200 to 1,300 | <= 60, missed |" in text
    assert "| told | 14.6 films/s | 14 to 15 |  |" in text
    assert "2 cores of A CPU, 8.0 GiB, Python 3.11.7, commit 0123456789ab." in text


def test_a_benchmark_that_never_ran_is_left_out() -> None:
    titles = {section.benchmark: section.title for section in SECTIONS}
    text = document({"xray": RESULT})
    assert f"## {titles['xray']}" in text
    assert f"## {titles['cascade']}" not in text
