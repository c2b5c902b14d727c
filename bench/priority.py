"""What an interactive request feels of a batch job that saturates the box: its p99 beside its p99 alone."""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from appliance.imaging import encode_png
from appliance.pb.analysis_pb2 import PRIORITY_BATCH, PRIORITY_INTERACTIVE, Priority, StageReport
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.phantoms.demo import demo_chest_film
from appliance.phantoms.metaphase import metaphase_phantom
from bench.daemon import BenchedDaemon
from bench.report import Row, Target, publish, summarise

PHANTOM_SEED = 46
REQUEST_LIMIT_S = 120.0
LONGEST_PAUSE_S = 0.2
SATURATED_S = 1.0
REFUSED_PAUSE_S = 0.1
OVER_ALONE = 1.5
WITHIN_LIMIT = Target(1.0)
BOOTSTRAPS = 2000
LOAD_KIND = "spread"
OF_EACH = {"spread": 1, "film": 2}
"""A film takes a tenth of the time, so there is time for more of them."""

Begin = Callable[[Priority.ValueType], Any]
"""Sends one request; what it gives is the call, a future of the answer."""


@dataclass
class Felt:
    """Latencies of one kind of interactive request."""

    alone_ms: list[float] = field(default_factory=list)
    loaded_ms: list[float] = field(default_factory=list)

    def over_limit(self, running_ms: float) -> tuple[float, float, float]:
        """p99 under load over its limit, and the ends of the bootstrap's 95 % interval."""
        draws = random.Random(PHANTOM_SEED)
        ratios = sorted(
            self._ratio(
                draws.choices(self.alone_ms, k=len(self.alone_ms)),
                draws.choices(self.loaded_ms, k=len(self.loaded_ms)),
                running_ms,
            )
            for _ in range(BOOTSTRAPS)
        )
        value = self._ratio(self.alone_ms, self.loaded_ms, running_ms)
        return value, ratios[BOOTSTRAPS // 40], ratios[-BOOTSTRAPS // 40]

    @staticmethod
    def _ratio(alone_ms: Sequence[float], loaded_ms: Sequence[float], running_ms: float) -> float:
        return p99(loaded_ms) / (OVER_ALONE * p99(alone_ms) + running_ms)


class BatchJob:
    """Callers that always have a request under way, for the length of a `with` block.

    Args:
        begin: sends one request.
        callers: requests under way.
        priority: of the requests.
    """

    def __init__(self, begin: Begin, callers: int, priority: Priority.ValueType) -> None:
        self._begin = begin
        self._callers = callers
        self._priority = priority
        self._stop = threading.Event()
        self._under_way: set[Any] = set()
        self.answered = 0
        self.seconds = 0.0

    def __enter__(self) -> BatchJob:
        self._began_s = time.perf_counter()
        self._pool = ThreadPoolExecutor(self._callers)
        self._working = [self._pool.submit(self._work) for _ in range(self._callers)]
        time.sleep(SATURATED_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began_s
        self.stop()
        self._pool.shutdown(wait=True)
        self.answered = sum(future.result() for future in self._working)

    def stop(self) -> None:
        """Send nothing new and hang up on what is under way."""
        self._stop.set()
        for call in tuple(self._under_way):
            call.cancel()

    def _work(self) -> int:
        answered = 0
        while not self._stop.is_set():
            call = self._begin(self._priority)
            self._under_way.add(call)
            if self._stop.is_set():  # it came too late to be hung up on with the others
                call.cancel()
            try:
                call.result()
                answered += 1
            except grpc.FutureCancelledError:
                break
            except grpc.RpcError:
                if call.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                self._stop.wait(REFUSED_PAUSE_S)
            finally:
                self._under_way.discard(call)
        return answered


def measure(
    rounds: int, requests: int, callers: int, load_priority: Priority.ValueType
) -> tuple[list[Row], dict[str, list[float]]]:
    """Run the benchmark.

    Args:
        rounds: interleaved rounds of alone and loaded.
        requests: interactive spreads in each half of a round; of films twice as many.
        callers: requests of the batch job that are under way.
        load_priority: of the batch job.

    Returns:
        The rows, and every sample by name.
    """
    felt = {"spread": Felt(), "film": Felt()}
    running_ms: list[float] = []
    per_s: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-priority-") as scratch,
        BenchedDaemon(Path(scratch)) as daemon,
    ):
        begins = {"spread": _spread(daemon), "film": _film(daemon)}
        pauses = random.Random(PHANTOM_SEED)
        for _ in range(rounds):
            for begin in begins.values():  # nothing of the round before is left; the first calls do not count
                begin(PRIORITY_INTERACTIVE).result()
            for name, begin in begins.items():
                inside_ms = running_ms if name == LOAD_KIND else []
                felt[name].alone_ms += _latencies(begin, OF_EACH[name] * requests, pauses, inside_ms)
            with BatchJob(begins[LOAD_KIND], callers, load_priority) as job:
                for name, begin in begins.items():
                    felt[name].loaded_ms += _latencies(begin, OF_EACH[name] * requests, pauses, [])
            per_s.append(job.answered / job.seconds)
    detection_ms = statistics.median(running_ms)
    rows = [summarise("one running inference (the longest kind)", running_ms, "ms")]
    for name, times in felt.items():
        value, low, high = times.over_limit(detection_ms)
        limit_ms = OVER_ALONE * p99(times.alone_ms) + detection_ms
        rows += [
            Row(f"{name}: p99 under load / limit", value, "", len(times.loaded_ms), low, high, WITHIN_LIMIT),
            _plain(f"{name}: limit", limit_ms, times.alone_ms),
            _plain(f"{name}: p99 under load", p99(times.loaded_ms), times.loaded_ms),
            _plain(f"{name}: p99 alone", p99(times.alone_ms), times.alone_ms),
            summarise(f"{name}: p50 under load", times.loaded_ms, "ms"),
            summarise(f"{name}: p50 alone", times.alone_ms, "ms"),
        ]
    rows.append(summarise("spreads of the batch job meanwhile", per_s, "/s"))
    samples = {f"{name} alone ms": times.alone_ms for name, times in felt.items()}
    return rows, samples | {f"{name} loaded ms": times.loaded_ms for name, times in felt.items()}


def p99(samples: Sequence[float]) -> float:
    """The value that 99 of 100 samples do not exceed (nearest rank)."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1]


def _plain(name: str, value: float, samples: Sequence[float]) -> Row:
    return Row(name, value, "ms", len(samples), min(samples), max(samples))


def _latencies(begin: Begin, requests: int, pauses: random.Random, running_ms: list[float]) -> list[float]:
    """Times of requests with random pauses between them, in which the batch job goes on."""
    times_ms = []
    for _ in range(requests):
        time.sleep(pauses.uniform(0.0, LONGEST_PAUSE_S))
        began_s = time.perf_counter()
        stages: Sequence[StageReport] = begin(PRIORITY_INTERACTIVE).result().stages
        times_ms.append((time.perf_counter() - began_s) * 1e3)
        running_ms += [stage.engine_ms / stage.calls for stage in stages if stage.stage == "detect"]
    return times_ms


def _spread(daemon: BenchedDaemon) -> Begin:
    picture = encode_png(metaphase_phantom(PHANTOM_SEED).image)
    call = daemon.karyotype.AnalyzeMetaphase
    return lambda priority: call.future(
        AnalyzeMetaphaseRequest(encoded=picture, priority=priority), timeout=REQUEST_LIMIT_S
    )


def _film(daemon: BenchedDaemon) -> Begin:
    picture = encode_png(demo_chest_film().image)
    call = daemon.chest_xray.AnalyzeChestXray
    return lambda priority: call.future(
        AnalyzeChestXrayRequest(encoded=picture, priority=priority), timeout=REQUEST_LIMIT_S
    )


def main() -> None:
    """Command line of `make bench-priority`."""
    parser = argparse.ArgumentParser(prog="bench.priority", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--requests", type=int, default=7, help="spreads in each half of a round; films twice as many"
    )
    parser.add_argument("--callers", type=int, default=12, help="requests of the batch job under way")
    parser.add_argument(
        "--same-priority",
        action="store_true",
        help="let the batch job claim to be interactive: what it would be without priorities; not published",
    )
    words = parser.parse_args()
    load_priority = PRIORITY_INTERACTIVE if words.same_priority else PRIORITY_BATCH
    rows, samples = measure(words.rounds, words.requests, words.callers, load_priority)
    if words.same_priority:
        for row in rows:
            print(f"{row.name}: {row.value:.3f} {row.unit}")
        return
    print(f"\nwritten to {publish('priority', rows, samples)}")


if __name__ == "__main__":
    main()
