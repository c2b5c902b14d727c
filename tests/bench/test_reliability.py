"""The document says what the results say."""

from __future__ import annotations

import json
from pathlib import Path

from bench.reliability import DOCUMENT, table, write
from bench.report import RESULTS


def test_the_document_is_made_from_the_results(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "reliability.md")
    assert (tmp_path / "reliability.md").read_text() == DOCUMENT.read_text()


def test_there_are_no_exceptions_and_every_fault_was_tried() -> None:
    found = json.loads((RESULTS / "faults-releases.json").read_text())["faults"]
    assert [fault["fault"] for fault in found if fault["tried"] != fault["well"]] == []
    assert all(fault["tried"] for fault in found)
    cuts = sum(fault["tried"] for fault in found if "power cut" in fault["fault"])
    assert cuts >= 200


def test_an_exception_and_a_skip_show_in_the_table() -> None:
    fault = {"fault": "x", "tried": 3, "well": 2, "skipped": "", "served_after_start": {"1.0.0": 3}}
    skipped = fault | {"skipped": "no ext4", "tried": 0, "well": 0, "served_after_start": {}}
    lines = table([fault, skipped]).splitlines()
    assert lines[2] == "| x | 3 | 2 | 1 | 1.0.0 ×3 |"
    assert "skipped: no ext4" in lines[3]
