from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import Target, machine, publish, summarise


def test_a_row_is_the_median_between_the_quartiles() -> None:
    row = summarise("latency", [4.0, 1.0, 2.0, 3.0, 100.0], "ms", Target(3.0))

    assert (row.value, row.low, row.high, row.n) == (3.0, 2.0, 4.0, 5)
    assert row.verdict == "met"


def test_one_sample_stands_for_itself() -> None:
    row = summarise("memory", [7.0], "MB")

    assert (row.value, row.low, row.high, row.verdict) == (7.0, 7.0, 7.0, "")


def test_no_sample_is_no_result() -> None:
    with pytest.raises(ValueError, match="latency: expected at least one sample"):
        summarise("latency", [], "ms")


@pytest.mark.parametrize(
    ("target", "value", "verdict", "text"),
    [
        (Target(1.1), 1.1, "met", "<= 1.1"),
        (Target(1.1), 1.11, "missed", "<= 1.1"),
        (Target(2.0, at_most=False), 2.0, "met", ">= 2"),
        (Target(2.0, at_most=False), 1.99, "missed", ">= 2"),
    ],
)
def test_targets_bound_from_one_side(target: Target, value: float, verdict: str, text: str) -> None:
    assert summarise("x", [value], "", target).verdict == verdict
    assert str(target) == text


def test_what_is_written_can_be_read_and_names_machine_and_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [summarise("ratio", [1.0, 1.2], "", Target(1.1)), summarise("rss", [900.0], "MB")]

    path = publish("example", rows, {"rounds": [1.0, 1.2]}, tmp_path)

    document = json.loads(path.read_text())
    assert path.name == "example.json"
    assert document["commit"]
    assert document["machine"]["cores"] >= 1
    assert document["rows"][0] == {
        "name": "ratio", "value": 1.1, "unit": "", "n": 2, "low": 1.05, "high": 1.15, "target": "<= 1.1"
    }  # fmt: skip
    assert document["rows"][1]["target"] is None
    shown = capsys.readouterr().out
    assert "rounds: 1.00 1.20" in shown
    assert "target <= 1.1 met" in shown


def test_the_machine_is_described_without_its_name() -> None:
    assert set(machine()) == {"processor", "cores", "memory_gib", "system", "python", "load_before"}
