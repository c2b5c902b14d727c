"""A case as its client meets it: seconds per spread from file to answer, and where they go.

A real daemon on this machine; the client reads each image, adds it to one case with the karyogram wanted, and
waits. Held against 15 s per metaphase, which is reported for the fastest published system. Then each stage's
share of the time: stages are the daemon's own reports, the rest is transport, storing and the case itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from appliance.imaging import encode_png
from appliance.pb.analysis_pb2 import RenderOptions
from appliance.pb.case_pb2 import AddSpreadRequest, GetCaseRequest, OpenCaseRequest
from appliance.phantoms.metaphase import metaphase_phantom
from bench.daemon import BenchedDaemon
from bench.report import Row, Target, publish, summarise

PUBLISHED_S = 15.0
PER_SPREAD_S = Target(PUBLISHED_S)
FIRST_SEED = 500
REQUEST_LIMIT_S = 120.0
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def measure(paths: Sequence[Path], state: Path) -> tuple[list[Row], dict[str, list[float]]]:
    """Add every image to one case.

    Args:
        paths: images, all different; the first one is not measured.
        state: folder for the daemon's state.

    Returns:
        The rows, and every sample by name.
    """
    seconds: list[float] = []
    stages: dict[str, list[float]] = {}
    refused = 0
    with BenchedDaemon(state) as daemon:
        case_id = daemon.cases.OpenCase(OpenCaseRequest(), timeout=10.0).case.line.case_id
        for index, path in enumerate(paths):
            began_s = time.perf_counter()
            request = AddSpreadRequest(
                case_id=case_id, encoded=path.read_bytes(), render=RenderOptions(karyogram=True)
            )
            try:
                reply = daemon.cases.AddSpread(request, timeout=REQUEST_LIMIT_S)
            except grpc.RpcError as exc:  # an image in which no spread is found
                refused += 1
                print(f"{path.name}: {exc}")
                continue
            took_s = time.perf_counter() - began_s
            if index == 0:  # the first call of everything
                continue
            seconds.append(took_s)
            inside = {stage.stage: stage.time_ms / 1e3 for stage in reply.result.stages}
            inside["transport, storing, case"] = took_s - sum(inside.values())
            for name, stage_s in inside.items():
                stages.setdefault(name, []).append(stage_s)
        began_s = time.perf_counter()
        case = daemon.cases.GetCase(GetCaseRequest(case_id=case_id), timeout=REQUEST_LIMIT_S).case
        summary_s = time.perf_counter() - began_s
    total_s = sum(seconds)
    rows = [
        summarise("spread added, file to answer", seconds, "s", PER_SPREAD_S),
        summarise("15 s / that", [PUBLISHED_S / one for one in seconds], ""),
        summarise("slowest spread", [max(seconds)], "s", PER_SPREAD_S),
        *(
            summarise(f"share of {name}", [100.0 * sum(values) / total_s], "%")
            for name, values in sorted(stages.items(), key=lambda stage: -sum(stage[1]))
        ),
        summarise(f"summary of the case with {len(case.spreads)} spreads", [summary_s * 1e3], "ms"),
    ]
    print(f"{len(seconds)} spreads measured, {refused} refused, median {statistics.median(seconds):.3f} s")
    return rows, {"spread s": seconds} | {f"{name} s": values for name, values in stages.items()}


def phantoms(folder: Path, number: int) -> list[Path]:
    """Draw so many different spreads."""
    paths = []
    for seed in range(FIRST_SEED, FIRST_SEED + number):
        path = folder / f"phantom-{seed}.png"
        path.write_bytes(encode_png(metaphase_phantom(seed).image))
        paths.append(path)
    return paths


def main() -> None:
    """Command line of `make bench-case`."""
    parser = argparse.ArgumentParser(prog="bench.case", description=__doc__)
    parser.add_argument(
        "--images", type=Path, help="folder of metaphase images; by default phantoms are drawn"
    )
    parser.add_argument("--spreads", type=int, default=25, help="at most so many, the first not measured")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-case-") as scratch:
        if words.images is not None:
            paths = sorted(path for path in words.images.iterdir() if path.suffix.lower() in SUFFIXES)
            paths = paths[: words.spreads]
        else:
            paths = phantoms(Path(scratch), words.spreads)
        rows, samples = measure(paths, Path(scratch) / "state")
    print(f"\nwritten to {publish('case', rows, samples)}")


if __name__ == "__main__":
    main()
