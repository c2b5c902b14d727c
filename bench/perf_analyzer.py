"""perf_analyzer, Triton's own load generator, against the daemon: tensors in messages and in shared memory.

The binary comes in tritonclient's wheel. It is linked with libb64 (`apt-get install libb64-0d`) and with a
CUDA runtime that it does not use here.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.daemon import BenchedDaemon
from bench.report import Row, publish, summarise
from bench.serving.environments import REPOSITORY, environment, site_packages

FACTORY = REPOSITORY / "engines" / "factory"
MODELS = ("chest-xray-demonstration", "chest-xray-demonstration-uint8")
OUTPUT_BYTES = 1 << 20
CLIENTS = (1, 4, 16)
RUN_LIMIT_S = 300.0
UNSTABLE_PERCENT = 100
"""perf_analyzer repeats windows until they agree; here each run is one row, so it need not."""

COLUMNS = {
    "Inferences/Second": "per_second",
    "p50 latency": "p50_us",
    "p95 latency": "p95_us",
    "p99 latency": "p99_us",
    "Server Queue": "queue_us",
    "Server Compute Input": "input_us",
    "Server Compute Infer": "infer_us",
    "Server Compute Output": "output_us",
}
"""What is kept of its table; times are microseconds."""


def analyze(address: str, model: str, shared: bool, window_s: float) -> list[dict[str, float]]:
    """Run it once; one line for each number of clients.

    Raises:
        RuntimeError: it failed, or said that something did.
    """
    python = environment("perf_analyzer")
    library = _cuda_library(python)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "table.csv"
        command = [str(python.parent / "perf_analyzer"), "-m", model, "-u", address, "-i", "grpc"]
        command += ["-p", str(round(window_s * 1e3)), "-r", "3", "-s", str(UNSTABLE_PERCENT)]
        found = []
        for clients in CLIENTS:
            words = [*command, f"--concurrency-range={clients}", "-f", str(table)]
            if shared:
                words += ["--shared-memory", "system", "--output-shared-memory-size", str(OUTPUT_BYTES)]
            _run(words, library)
            found.append(read_table(table) | {"clients": float(clients)})
        return found


def read_table(path: Path) -> dict[str, float]:
    """The one line of perf_analyzer's table; RuntimeError if a column is missing."""
    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    missing = [name for name in COLUMNS if not lines or not lines[0].get(name)]
    if missing:
        raise RuntimeError(f"expected columns {', '.join(missing)} from perf_analyzer and got none")
    return {key: float(lines[0][name]) for name, key in COLUMNS.items()}


def _cuda_library(python: Path) -> Path:
    folder = site_packages(python) / "nvidia" / "cuda_runtime" / "lib"
    link = folder / "libcudart.so"
    if not link.exists():
        link.symlink_to("libcudart.so.12")
    return folder


def _run(words: Sequence[str], library: Path) -> None:
    surroundings: Mapping[str, str] = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run(
        words, env=surroundings, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
    )
    said = done.stdout + done.stderr
    if done.returncode or "Unable to" in said or "Failed" in said:
        raise RuntimeError(f"perf_analyzer ended with {done.returncode}: {said[-1000:]}")


def main() -> None:
    """Command line of `make bench-perf-analyzer`."""
    parser = argparse.ArgumentParser(prog="bench.perf_analyzer", description=__doc__)
    parser.add_argument("--window", type=float, default=3.0, help="length of one measurement, seconds")
    words = parser.parse_args()
    rows: list[Row] = []
    cells = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, BenchedDaemon(Path(scratch)) as daemon:
        for model in MODELS:
            for shared in (False, True):
                for line in analyze(daemon.address, model, shared, words.window):
                    way = "system shared memory" if shared else "in messages"
                    cells.append({"model": model, "tensors": way, **line})
                    label = f"{model}, {way}, {line['clients']:.0f} clients: "
                    rows.append(summarise(label + "throughput", [line["per_second"]], "/s"))
                    for key in ("p50", "p99", "queue", "infer"):
                        word = key if key.startswith("p") else f"server's {key}"
                        rows.append(summarise(label + word, [line[f"{key}_us"] / 1e3], "ms"))
    path = publish("perf_analyzer", rows, {}, details={"cells": cells})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
