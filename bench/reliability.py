"""docs/reliability.md: what was done to an install, how often, and what came of it; from bench/results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import RESULTS

DOCUMENT = RESULTS.parents[1] / "docs" / "reliability.md"
HEAD = """# Reliability

Made by `make faults-releases` from [bench/results](../bench/results); do not edit. Exceptions are what
counts: there may be none.

## Model releases

The story: a box serves a confirmed release, takes the next one, and confirms it. Each fault below
interrupts it once. Then the box is started on what is left: it has to serve a good model at once. The same
install is asked for again: it has to come to its end, confirmed, every stored byte as signed. A rollback
has to lead to a good model again. `make faults-releases-short` does a few of each; the tests run it too.

The box is the real one without the server: store, trust, gate, registry and watch. Its engine is one matrix
in NumPy, and its trials run in its own process, so that hundreds of installs take minutes. Power cuts are
real: an ext4 over a loop device is shut down without flushing its journal, unmounted, and mounted again.
"""


def table(faults: Sequence[Mapping[str, Any]]) -> str:
    """One row for each kind of fault."""
    lines = ["| fault | tried | well | exceptions | served right after the start |", "|---|---|---|---|---|"]
    for fault in faults:
        served = ", ".join(f"{version} ×{n}" for version, n in sorted(fault["served_after_start"].items()))
        well = fault["well"] if not fault["skipped"] else f"skipped: {fault['skipped']}"
        bad = fault["tried"] - fault["well"]
        lines.append(f"| {fault['fault']} | {fault['tried']} | {well} | {bad} | {served} |")
    return "\n".join(lines)


def write(results: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Make the document from `faults-releases.json`."""
    found = json.loads((results / "faults-releases.json").read_text())
    tried = sum(fault["tried"] for fault in found["faults"])
    well = sum(fault["well"] for fault in found["faults"])
    machine = found["machine"]
    text = (
        f"{HEAD}\n{table(found['faults'])}\n\n{tried} faults, {tried - well} exceptions. Commit"
        f" {found['commit']}, {machine['processor']}, {machine['system']}, Python {machine['python']}.\n"
    )
    if found.get("note"):
        text += f"\n{found['note']}\n"
    document.write_text(text)


if __name__ == "__main__":
    write()
