"""The karyotype cascade as a caller meets it, against the bare engine calls that it makes, in one run.

Each round times, one after the other: a request to a real daemon over gRPC for each form in which microscopes
send the spread; the same engine calls, bare, in this process; and the cascade in this process, in INT8 and in
FP32 (OpenVINO without the activation pairs: float arithmetic on the same weights). Medians of interleaved
rounds: a busy machine slows all alike. Before that: warm starts of the daemon with its compile cache present.
After it: the daemon's memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.imaging import ImageDecoder, encode_png
from appliance.pb.analysis_pb2 import PIXEL_TYPE_UINT8, RawPixels
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.phantoms.metaphase import metaphase_phantom
from bench.bare import BareEngines
from bench.daemon import BenchedDaemon
from bench.report import Row, Target, publish, summarise
from engines import CompileCache, EngineOptions, QuantizedGraph

FACTORY_PACKS = Path(__file__).resolve().parents[1] / "engines" / "factory"
PHANTOM_SEED = 46
REQUEST_LIMIT_S = 120.0
FORMS = ("PNG", "TIFF", "pixels")
"""How a spread is sent: compressed, as an uncompressed file, and as a camera has it."""

OVERHEAD = Target(1.10)
END_TO_END_MS = Target(2500.0)
SPEED_UP = Target(2.0, at_most=False)
RESIDENT_MB = Target(1200.0)
WARM_START_S = Target(5.0)


def measure(
    packs: Path, spread: NDArray[np.uint8], rounds: int, starts: int
) -> tuple[list[Row], dict[str, list[float]]]:
    """Run the benchmark.

    Args:
        packs: a folder with one model pack per sub-folder.
        spread: (H, W) one metaphase image.
        rounds: interleaved rounds.
        starts: warm starts of the daemon.

    Returns:
        The rows, and every sample by name.
    """
    with tempfile.TemporaryDirectory(prefix="bench-cascade-") as scratch:
        state, cache = Path(scratch) / "state", CompileCache(Path(scratch) / "cache")
        with BenchedDaemon(state, packs) as daemon:
            cold_s = daemon.start_s
        starts_s = []
        for _ in range(starts):
            with BenchedDaemon(state, packs) as daemon:
                starts_s.append(daemon.start_s)
        with (
            BenchedDaemon(state, packs) as daemon,
            BareEngines(packs, EngineOptions(), cache) as int8,
            BareEngines(packs, EngineOptions(quantized_graph=QuantizedGraph.FLOAT), cache) as fp32,
        ):
            samples = _rounds(daemon, int8, fp32, forms(spread), rounds)
            own_mb, tree_mb = daemon.resident_mb()
            print("engines:", ", ".join(f"{k} {v}" for k, v in int8.precisions.items()))
            print("against:", ", ".join(f"{k} {v}" for k, v in fp32.precisions.items()))
    rows = [
        *(
            summarise(f"{form} / bare engine calls", samples[f"{form} / bare"], "", OVERHEAD)
            for form in FORMS
        ),
        *(summarise(f"{form} end to end", samples[f"{form} ms"], "ms", END_TO_END_MS) for form in FORMS),
        summarise("engine calls inside the daemon", samples["engine calls in daemon ms"], "ms"),
        summarise("bare engine calls", samples["bare ms"], "ms"),
        summarise("cascade FP32 / INT8", samples["FP32 / INT8"], "", SPEED_UP),
        summarise("cascade INT8", samples["INT8 ms"], "ms"),
        summarise("cascade FP32", samples["FP32 ms"], "ms"),
        summarise("memory of the daemon", [own_mb], "MB", RESIDENT_MB),
        summarise("memory with its decoders", [tree_mb], "MB"),
        summarise("cold start to ready", [cold_s], "s"),
        summarise("warm start to ready", starts_s, "s", WARM_START_S),
    ]
    return rows, samples | {"warm start s": starts_s}


def forms(spread: NDArray[np.uint8]) -> dict[str, AnalyzeMetaphaseRequest]:
    """The same pixels as a request in each of `FORMS`."""
    _, tiff = cv2.imencode(".tiff", spread, [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE])
    height, width = spread.shape
    raw = RawPixels(data=spread.tobytes(), shape=(height, width), dtype=PIXEL_TYPE_UINT8)
    return {
        "PNG": AnalyzeMetaphaseRequest(encoded=encode_png(spread)),
        "TIFF": AnalyzeMetaphaseRequest(encoded=tiff.tobytes()),
        "pixels": AnalyzeMetaphaseRequest(raw=raw),
    }


def _rounds(
    daemon: BenchedDaemon,
    int8: BareEngines,
    fp32: BareEngines,
    requests: dict[str, AnalyzeMetaphaseRequest],
    rounds: int,
) -> dict[str, list[float]]:
    with ImageDecoder() as decoder:
        image = decoder.decode(requests["PNG"].encoded)
    calls = int8.record(image)
    inside_ms: list[float] = []

    def ask(form: str) -> int:
        answer = daemon.karyotype.AnalyzeMetaphase(requests[form], timeout=REQUEST_LIMIT_S)
        made = sum(stage.calls for stage in answer.stages)
        if made != len(calls):
            raise RuntimeError(f"expected the daemon to make the {len(calls)} recorded calls and got {made}")
        inside_ms.append(sum(stage.engine_ms for stage in answer.stages))
        return int(answer.spread.count)

    found = {ask(form) for form in requests}  # the first call of everything is not measured
    int8.replay_ms(calls)
    fp32.analyze(image)
    inside_ms.clear()
    print(f"{len(calls)} engine calls for a spread with {found} chromosomes")
    samples: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        samples.setdefault(name, []).append(value)

    for _ in range(rounds):
        bare_ms = int8.replay_ms(calls)
        add("bare ms", bare_ms)
        for form in requests:
            request_ms = _timed_ms(partial(ask, form))
            add(f"{form} ms", request_ms)
            add(f"{form} / bare", request_ms / bare_ms)
        int8_ms, fp32_ms = _timed_ms(lambda: int8.analyze(image)), _timed_ms(lambda: fp32.analyze(image))
        add("INT8 ms", int8_ms)
        add("FP32 ms", fp32_ms)
        add("FP32 / INT8", fp32_ms / int8_ms)
    return samples | {"engine calls in daemon ms": inside_ms}


def _timed_ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3


def main() -> None:
    """Command line of `make bench-cascade`."""
    parser = argparse.ArgumentParser(prog="bench.cascade", description=__doc__)
    parser.add_argument(
        "--packs", type=Path, default=FACTORY_PACKS, help="folder with one pack per sub-folder"
    )
    parser.add_argument(
        "--image", type=Path, help="metaphase image; by default a phantom of 1360 × 1024 pixels"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=5)
    words = parser.parse_args()
    spread = metaphase_phantom(PHANTOM_SEED).image
    if words.image:
        with ImageDecoder() as decoder:
            spread = decoder.decode(words.image.read_bytes()).grey
    rows, samples = measure(words.packs, spread, words.rounds, words.starts)
    print(f"\nwritten to {publish('cascade', rows, samples)}")


if __name__ == "__main__":
    main()
