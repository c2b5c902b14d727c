"""docs/performance.md from the results that are kept in bench/results: one section a benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report import RESULTS
from bench.serving import page

README = RESULTS.parents[1] / "README.md"
DOCUMENT = RESULTS.parents[1] / "docs" / "performance.md"
HEAD = """# Performance

Made by `make performance` from [bench/results](../bench/results); do not edit. Each table is one run on
the machine that it names: medians of interleaved rounds, between their quartiles. Contenders of one
table ran side by side, so that a busy machine slows all alike: compare ratios, not milliseconds of
different tables.
"""


@dataclass(frozen=True)
class Section:
    """What is said about a benchmark beside its numbers."""

    benchmark: str  # name of the file in bench/results
    title: str
    text: str  # what was done, and how to read it


SECTIONS = (
    Section(
        "xray",
        "Chest films",
        """`make bench-xray`. Four phantom films, as JPEG of 1024² pixels and as DICOM of 2048² pixels
with 12 bits, not compressed (8.4 MB). The model is YOLO11n at 640², INT8. The daemon answers over gRPC,
commits every result and serves 8 callers at a time. The bare engine runs in the benchmark's own
process: the same decoder, letterbox and engine, two threads so that one decodes while the other's film
is computed; nothing is checked, suppressed, stored or sent. The plain server is Python's HTTP server
around onnxruntime in FP32, with one thread a request. Callers and servers share the cores.

SnippyScan publishes 14.6 images/s for its nano model on a CPU at concurrency 8, with 68 ms of computing
an image at 640². That is another machine, whose cores are not named: compare it with the first row for
orientation only.""",
    ),
    Section(
        "cascade",
        "Karyotype cascade",
        "`make bench-cascade`. One spread of 1360×1024 pixels as PNG, to the finished karyotype over gRPC.",
    ),
    Section(
        "priority",
        "An interactive request beside a batch job",
        """`make bench-priority`. A person's requests, a spread of 1360×1024 pixels or a film of 1024², at
`PRIORITY_INTERACTIVE` and with short pauses between them, first alone, then while 12 callers at
`PRIORITY_BATCH` always have a spread under way. The limit is 1.5 times the p99 alone and one running
inference: the median time of the detector, the longest engine call there is. A p99 of fewer than 100
samples is the largest of them; the interval of the ratio is the bootstrap's 95 %, those of the other
p99 and of the limit are the smallest and the largest sample.""",
    ),
    Section(
        "scale",
        "From 1 to 64 clients",
        """`make bench-scale`. The stock client in closed loops, YOLO11n with a uint8 tensor; processor time
is that of all processes of the daemon. Who is told to come again waits 50 ms.""",
    ),
    Section(
        "perf_analyzer",
        "perf_analyzer",
        """`make bench-perf-analyzer`. Triton's own load generator, which also reads the server's times from
`ModelStatistics`.""",
    ),
    Section(
        "soak",
        "Soak",
        """`make soak`. A mixed load with cancelled, late and broken requests; counted between two rests,
before and after it.""",
    ),
)


def document(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole text; a benchmark without results is left out.

    Args:
        results: contents of the result files by benchmark.
    """
    parts = [HEAD]
    for section in SECTIONS:
        result = results.get(section.benchmark)
        if result is not None:
            parts.append(f"## {section.title}\n\n{section.text}\n\n{_table(result)}\n{_conditions(result)}\n")
    if "serving" in results:
        parts.append(page.section(dict(results["serving"])))
    return "\n".join(parts)


def found() -> dict[str, Any]:
    """Contents of the result files that there are, by benchmark."""
    names = [*(section.benchmark for section in SECTIONS), "serving"]
    paths = {name: RESULTS / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _table(result: Mapping[str, Any]) -> str:
    lines = ["| | measured | between | target |", "|---|---|---|---|"]
    for row in result["rows"]:
        target = f"{row['target']}, {_verdict(row)}" if row["target"] else ""
        lines.append(
            f"| {row['name']} | {_number(row['value'])} {row['unit']} |"
            f" {_number(row['low'])} to {_number(row['high'])} | {target} |"
        )
    return "\n".join(lines) + "\n"


def _conditions(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB,"
        f" Python {machine['python']}, commit {result['commit']}."
    )


def _verdict(row: Mapping[str, Any]) -> str:
    relation, limit = row["target"].split()
    met = row["value"] <= float(limit) if relation == "<=" else row["value"] >= float(limit)
    return "met" if met else "missed"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    """Command line of `make performance`."""
    argparse.ArgumentParser(prog="bench.performance", description=__doc__).parse_args()
    results = found()
    DOCUMENT.write_text(document(results))
    if "serving" in results:
        README.write_text(page.with_headline(README.read_text(), page.headline(results["serving"])))
    print(f"written to {DOCUMENT}")


if __name__ == "__main__":
    main()
