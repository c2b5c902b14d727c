"""Writes what a benchmark found: raw numbers to the terminal, rows with machine and commit to a file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Target:
    """A limit that a value is held to."""

    limit: float
    at_most: bool = True  # otherwise at least

    def met(self, value: float) -> bool:
        """Whether `value` keeps the limit."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One measured value with its spread.

    `summarise` gives the median of `n` samples between their quartiles; where there are no repetitions, as
    for an accuracy over `n` objects, `low` and `high` are the ends of the 95 % interval.
    """

    name: str
    value: float
    unit: str
    n: int
    low: float
    high: float
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """ "met", "missed", or empty where there is no target."""
        if self.target is None:
            return ""
        return "met" if self.target.met(self.value) else "missed"


def summarise(name: str, samples: Sequence[float], unit: str, target: Target | None = None) -> Row:
    """The row for repeated measurements of one thing.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError(f"{name}: expected at least one sample and got none")
    if len(samples) == 1:
        low = high = samples[0]
    else:
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Row(name, statistics.median(samples), unit, len(samples), low, high, target)


def publish(
    name: str,
    rows: Sequence[Row],
    raw: Mapping[str, Sequence[float]],
    directory: Path = RESULTS,
    details: Mapping[str, object] | None = None,
) -> Path:
    """Print the samples and the rows, write the rows to DIRECTORY/NAME.json, return that path.

    Args:
        name: of the benchmark.
        rows: what was found.
        raw: every sample, by what was measured; printed only.
        directory: where results are kept.
        details: what else goes into the file: tables behind the rows.
    """
    for label, samples in raw.items():
        print(f"{label}: " + " ".join(f"{sample:.2f}" for sample in samples))
    width = max(len(row.name) for row in rows)
    print()
    for row in rows:
        held = f"  target {row.target} {row.verdict}" if row.target else ""
        print(
            f"{row.name:<{width}}  {row.value:10.3f} {row.unit:<3} n={row.n:<3}"
            f" between {row.low:.3f} and {row.high:.3f}{held}"
        )
    document = {
        "benchmark": name,
        "commit": commit(),
        "machine": machine(),
        "rows": [asdict(row) | {"target": str(row.target) if row.target else None} for row in rows],
        **(details or {}),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def commit() -> str:
    """The commit that was measured, with "+changes" if the tree differs from it."""
    root = RESULTS.parents[1]

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "no git checkout"


def machine() -> dict[str, object]:
    """What the numbers were taken on; no host name."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.processor())
    flags = facts.get("flags", "").split()
    wide = [flag for flag in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8") if flag in flags]
    return f"{name} ({', '.join(wide)})" if wide else name
