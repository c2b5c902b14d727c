"""Chest films to results: the daemon beside the bare engine and beside a plain HTTP server, in one run.

Each round gives every contender the same seconds with the same films, one after the other: the daemon over
gRPC (INT8); the bare engine in this process, decoding included, on the same frames; and an HTTP server that
runs the model in FP32 in onnxruntime. Callers and servers share the cores. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from appliance.chest_xray.letterbox import film_input, film_pixels
from appliance.config import Config
from appliance.imaging import ImageLimits
from appliance.imaging.decoding import decode_here
from appliance.models.contract import Contract
from appliance.models.film_contract import read_film_contract
from appliance.models.opening import engine_opener, engine_order
from appliance.models.pack import ModelPack
from appliance.models.pixels import pixel_input
from appliance.pb.analysis_pb2 import RenderOptions
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from bench.daemon import BenchedDaemon
from bench.films import dicom_film, jpeg_film
from bench.report import Row, Target, publish, summarise
from engines import probe_devices

PACK = Path(__file__).resolve().parents[1] / "engines" / "factory" / "chest-xray-demonstration"
SEEDS = (14, 15, 16, 17)
JPEG_SIDE, DICOM_SIDE = 1024, 2048
CALLERS = 8  # as in the figures that SnippyScan publishes
BARE_THREADS = 2  # one decodes while the engine computes the other's
REQUEST_LIMIT_S = 60.0
SINGLE_FILMS = 4
OF_BARE = Target(0.95, at_most=False)
DECODE_MS = Target(60.0)

Work = Callable[[bytes], object]


class BareEngine:
    """The engine as the daemon opens it, with decoding and letterboxing before it and nothing behind it."""

    def __init__(self, cache_dir: Path) -> None:
        pack = ModelPack.open(PACK)
        config = Config.model_validate({"inference": {"cache_dir": str(cache_dir)}})
        self._engine = engine_opener(config, probe_devices(order=engine_order(config)))(
            pack.model_path, pixel_input(pack.manifest)
        )
        self._contract = read_film_contract(Contract.of(pack.manifest))
        self._limits = ImageLimits()

    def prepare(self, film: bytes) -> dict[str, object]:
        """The engine's input for one encoded film."""
        make = film_pixels if self._engine.pixel_inputs else film_input
        grey = decode_here(film, self._limits).grey
        return {self._contract.input_name: make(grey, self._contract)[0]}

    def work(self, film: bytes) -> object:
        """One film."""
        return self._engine.infer(self.prepare(film))  # type: ignore[arg-type]

    @property
    def description(self) -> str:
        """Runtime and arithmetic."""
        return f"{self._engine.info.kind.value} {self._engine.info.precision}"

    def close(self) -> None:
        """Free it."""
        self._engine.close()


def films_per_s(work: Work, films: Sequence[bytes], callers: int, seconds: float) -> float:
    """Throughput of a closed loop: so many callers, each with its next film as soon as it has an answer."""
    turns, done, failed = itertools.count(), [], []
    began_s = time.perf_counter()

    def loop() -> None:
        try:
            while time.perf_counter() - began_s < seconds:
                work(films[next(turns) % len(films)])
                done.append(time.perf_counter())
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=loop) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError("a caller failed") from failed[0]
    return len(done) / (max(done) - began_s)


def single_ms(work: Work, films: Sequence[bytes]) -> float:
    """Median latency of one caller alone."""
    taken_ms = []
    for turn in range(SINGLE_FILMS):
        began_s = time.perf_counter()
        work(films[turn % len(films)])
        taken_ms.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(taken_ms)


def measure(rounds: int, seconds: float) -> tuple[list[Row], dict[str, list[float]]]:
    """Run the benchmark.

    Args:
        rounds: interleaved rounds.
        seconds: for each contender in a round.
    """
    jpegs = [jpeg_film(seed, JPEG_SIDE) for seed in SEEDS]
    dicoms = [dicom_film(seed, DICOM_SIDE) for seed in SEEDS]
    with ExitStack() as resources:
        scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="bench-xray-")))
        daemon = resources.enter_context(BenchedDaemon(scratch / "state"))
        bare = BareEngine(scratch / "cache")
        resources.callback(bare.close)
        plain = resources.enter_context(plain_server())
        print(f"bare engine: {bare.description}")

        def ask(film: bytes, structured_report: bool = False) -> object:
            wanted = RenderOptions(structured_report=structured_report)
            request = AnalyzeChestXrayRequest(encoded=film, render=wanted)
            return daemon.chest_xray.AnalyzeChestXray(request, timeout=REQUEST_LIMIT_S)

        def report(film: bytes) -> object:
            return ask(film, structured_report=True)

        contenders: list[tuple[str, Work, Sequence[bytes], int]] = [
            ("daemon, JPEG", ask, jpegs, CALLERS),
            ("bare, JPEG", bare.work, jpegs, BARE_THREADS),
            ("bare loop, JPEG", bare.work, jpegs, 1),
            ("plain, JPEG", plain, jpegs, CALLERS),
            ("daemon, DICOM", ask, dicoms, CALLERS),
            ("bare, DICOM", bare.work, dicoms, BARE_THREADS),
        ]
        for _, work, films, _ in contenders:
            for film in films:
                work(film)
        report(dicoms[0])
        samples: dict[str, list[float]] = {}
        for turn in range(rounds):
            for name, work, films, callers in contenders[:: -1 if turn % 2 else 1]:
                samples.setdefault(f"{name}, films/s", []).append(films_per_s(work, films, callers, seconds))
            for name, work, films in (
                ("daemon, JPEG", ask, jpegs),
                ("daemon, DICOM", ask, dicoms),
                ("daemon, DICOM with structured report", report, dicoms),
                ("plain, JPEG", plain, jpegs),
                ("decode and prepare, DICOM", bare.prepare, dicoms),
            ):
                samples.setdefault(f"{name}, ms", []).append(single_ms(work, films))
    return rows_of(samples), samples


def rows_of(samples: dict[str, list[float]]) -> list[Row]:
    """What is published."""
    jpeg, dicom = f"JPEG {JPEG_SIDE}²", f"DICOM {DICOM_SIDE}², 12 bit"

    def ratio(one: str, other: str) -> list[float]:
        pairs = zip(samples[f"{one}, films/s"], samples[f"{other}, films/s"], strict=True)
        return [a / b for a, b in pairs]

    def rate(name: str) -> list[float]:
        return samples[f"{name}, films/s"]

    bare, report = f"bare engine, {BARE_THREADS} threads", "daemon, DICOM with structured report, ms"
    return [
        summarise(f"{jpeg}: daemon, {CALLERS} callers", rate("daemon, JPEG"), "films/s"),
        summarise(f"{jpeg}: {bare}", rate("bare, JPEG"), "films/s"),
        summarise(f"{jpeg}: bare engine, one loop", rate("bare loop, JPEG"), "films/s"),
        summarise(f"{jpeg}: onnxruntime FP32 over HTTP", rate("plain, JPEG"), "films/s"),
        summarise(f"{jpeg}: daemon / bare engine", ratio("daemon, JPEG", "bare, JPEG"), "", OF_BARE),
        summarise(f"{jpeg}: daemon / bare loop", ratio("daemon, JPEG", "bare loop, JPEG"), ""),
        summarise(f"{jpeg}: daemon / FP32 over HTTP", ratio("daemon, JPEG", "plain, JPEG"), ""),
        summarise(f"{dicom}: daemon, {CALLERS} callers", rate("daemon, DICOM"), "films/s"),
        summarise(f"{dicom}: {bare}", rate("bare, DICOM"), "films/s"),
        summarise(f"{dicom}: daemon / bare engine", ratio("daemon, DICOM", "bare, DICOM"), "", OF_BARE),
        summarise(f"{jpeg}: daemon, one caller", samples["daemon, JPEG, ms"], "ms"),
        summarise(f"{jpeg}: FP32 over HTTP, one caller", samples["plain, JPEG, ms"], "ms"),
        summarise(f"{dicom}: daemon, one caller", samples["daemon, DICOM, ms"], "ms"),
        summarise(f"{dicom}: daemon, one caller, structured report", samples[report], "ms"),
        summarise(f"{dicom}: decode, letterbox", samples["decode and prepare, DICOM, ms"], "ms", DECODE_MS),
    ]


@contextmanager
def plain_server() -> Iterator[Work]:
    """The peer in a process of its own, and what sends it one film."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "bench.plain_server", str(port), str(PACK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        print(f"plain server: {process.stdout.readline().strip()}")
        connections = threading.local()

        def post(film: bytes) -> bytes:
            if not hasattr(connections, "one"):
                connections.one = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_LIMIT_S)
            connections.one.request("POST", "/predict", film)
            answer = connections.one.getresponse()
            body: bytes = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"expected findings from the plain server and got status {answer.status}")
            return body

        try:
            yield post
        finally:
            process.terminate()


def main() -> None:
    """Command line of `make bench-xray`."""
    parser = argparse.ArgumentParser(prog="bench.xray", description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender in a round")
    words = parser.parse_args()
    rows, samples = measure(words.rounds, words.seconds)
    print(f"\nwritten to {publish('xray', rows, samples)}")


if __name__ == "__main__":
    main()
