"""What `make faults-releases-short` runs; the whole table is made by `make faults-releases`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.crash.releases import SHORT, Tally, report, run
from tests.crash.story import SECOND, Outcome


def test_no_fault_is_an_exception(tmp_path: Path) -> None:
    said: list[str] = []
    tallies = run(SHORT, tmp_path, said.append)
    skipped = [tally.fault for tally in tallies if tally.skipped]
    assert all(tally.tried for tally in tallies if not tally.skipped), "\n".join(said)
    assert [line for tally in tallies for line in tally.exceptions] == []
    assert all("ext4" in fault or "tmpfs" in fault for fault in skipped)


def test_an_exception_is_counted_and_written(tmp_path: Path) -> None:
    tally = Tally("clock at 2020")
    tally.count("one", Outcome(served=True, version=SECOND, completed=True))
    tally.count("two", Outcome(served=False, version="", completed=True))
    assert (tally.tried, tally.well) == (2, 1)
    report([tally], tmp_path)
    written = json.loads((tmp_path / "faults-releases.json").read_text())
    assert written["rows"][0]["value"] == 1
    assert "two" in written["faults"][0]["exceptions"][0]
