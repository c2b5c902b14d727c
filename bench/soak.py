"""A mixed load for as long as one likes, with cancelled, late and broken requests; then nothing is left over.

Measured between two rests, before and after the load: threads, open files, waiting requests, regions of
shared memory. Resident memory is watched all along: its growth from the first to the second half of the
samples must lie within their own spread.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.daemon import BenchedDaemon
from bench.report import RESULTS, Row, Target, publish, summarise
from bench.soak_requests import ACTIONS, Requests

CALLERS = 6
WARM_UP_CALLERS = 32
"""More than the daemon has threads for, so that its pools have their size before anything is counted."""

WARM_UP_SHARE = 0.25
"""The first part of the load fills caches and pools; it is not judged."""

SAMPLE_S = 0.5
REST_LIMIT_S = 30.0
SMALLEST_NOISE = 0.02
"""Of resident memory: less than this share is never called growth."""

NOTHING, NO_GROWTH = Target(0.0), Target(1.0)


@dataclass(frozen=True)
class Rest:
    """What the daemon holds when nobody asks anything."""

    threads: int
    files: int
    waiting: int
    regions: int


@dataclass
class Course:
    """What was seen during the load."""

    seconds: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)  # with the decoders
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def growth_over_noise(self) -> float:
        """Growth between the halves, in units of the spread that is there anyway."""
        middle = len(self.resident_mb) // 2
        if middle < 2:
            raise ValueError(f"expected at least 4 samples of memory and got {len(self.resident_mb)}")
        first, second = self.resident_mb[:middle], self.resident_mb[middle:]
        spread = max(first) - min(first)
        noise = max(spread, SMALLEST_NOISE * statistics.median(first))
        return (statistics.median(second) - statistics.median(first)) / noise

    def slope_mb_per_hour(self) -> float:
        """Least squares through all samples."""
        return statistics.linear_regression(self.seconds, self.resident_mb).slope * 3600.0


class Soak:
    """One daemon, one client of many callers.

    Args:
        daemon: with all models.
        requests: what can be asked.
        seed: of the mixture.
        passed: hears of seconds gone by.
    """

    def __init__(
        self, daemon: BenchedDaemon, requests: Requests, seed: int, passed: Callable[[float], None]
    ) -> None:
        self._daemon, self._requests, self._seed, self._passed = daemon, requests, seed, passed

    def run(self, seconds: float) -> tuple[Rest, Rest, Course]:
        """Warm up, rest, load, rest."""
        warm_up_s = seconds * WARM_UP_SHARE
        self._load(warm_up_s, WARM_UP_CALLERS, self._seed)
        before = self._rest(None)
        course = self._load(seconds - warm_up_s, CALLERS, self._seed + WARM_UP_CALLERS)
        return before, self._rest(before), course

    def _load(self, seconds: float, number: int, seed: int) -> Course:
        course, stop, gate = Course(), threading.Event(), threading.Lock()

        def ask(caller: int) -> None:
            dice = random.Random(seed + caller)
            while not stop.is_set():
                action = dice.choices(list(ACTIONS), [one.weight for one in ACTIONS.values()])[0]
                outcome, right = self._requests.carry_out(action, dice)
                with gate:
                    course.outcomes[f"{action}: {outcome}"] += 1
                    if not right:
                        course.wrong.append(f"{action}: {outcome}")

        callers = [threading.Thread(target=ask, args=(one,)) for one in range(number)]
        for caller in callers:
            caller.start()
        began_s = time.monotonic()
        while (gone_s := time.monotonic() - began_s) < seconds:
            time.sleep(min(SAMPLE_S, seconds - gone_s))
            course.seconds.append(time.monotonic() - began_s)
            course.resident_mb.append(self._daemon.resident_mb()[1])
            self._passed(SAMPLE_S)
        stop.set()
        for caller in callers:
            caller.join()
        return course

    def _rest(self, expected: Rest | None) -> Rest:
        """What is held once nothing waits; given time to come down to what is expected."""
        until_s = time.monotonic() + REST_LIMIT_S
        while True:
            time.sleep(SAMPLE_S)
            held = Rest(
                threads=len(list(Path(f"/proc/{self._daemon.pid}/task").iterdir())),
                files=len(list(Path(f"/proc/{self._daemon.pid}/fd").iterdir())),
                waiting=self._requests.waiting(),
                regions=self._requests.regions(),
            )
            if time.monotonic() > until_s or (
                held.waiting == 0 and not (expected and exceeds(held, expected))
            ):
                return held


def exceeds(held: Rest, before: Rest) -> bool:
    """Whether anything is held that was not held before."""
    return (
        held.threads > before.threads
        or held.files > before.files
        or held.waiting > before.waiting
        or held.regions > before.regions
    )


def judge(before: Rest, after: Rest, course: Course) -> list[Row]:
    """The rows, with their targets."""
    return [
        summarise("requests", [float(sum(course.outcomes.values()))], ""),
        summarise("requests that ended otherwise than they had to", [float(len(course.wrong))], "", NOTHING),
        summarise("growth of memory over its noise", [course.growth_over_noise()], "", NO_GROWTH),
        summarise("slope of memory", [course.slope_mb_per_hour()], "MB/h"),
        summarise("memory with decoders", course.resident_mb, "MB"),
        summarise("threads left over", [float(max(0, after.threads - before.threads))], "", NOTHING),
        summarise("open files left over", [float(max(0, after.files - before.files))], "", NOTHING),
        summarise("requests still waiting", [float(after.waiting)], "", NOTHING),
        summarise("regions of shared memory left over", [float(after.regions)], "", NOTHING),
    ]


def main() -> int:
    """Command line of `make soak`."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="publish nothing")
    words = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as scratch,
        BenchedDaemon(Path(scratch)) as daemon,
        Progress(console=Console(stderr=True)) as progress,
        Requests(daemon.address) as requests,
    ):
        task = progress.add_task("soak", total=words.minutes * 60.0)
        soak = Soak(daemon, requests, words.seed, lambda gone_s: progress.advance(task, gone_s))
        before, after, course = soak.run(words.minutes * 60.0)
    rows = judge(before, after, course)
    for outcome, count in sorted(course.outcomes.items()):
        print(f"{count:7d} {outcome}")
    with tempfile.TemporaryDirectory() as nowhere:
        details = {"minutes": words.minutes, "outcomes": dict(sorted(course.outcomes.items()))}
        publish("soak", rows, {}, Path(nowhere) if words.dry else RESULTS, details)
    return int(any(row.verdict == "missed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
