"""`make faults-releases`: every fault against the install of a release, counted, into bench/results.

Each fault interrupts the same story (`tests.crash.story`); afterwards the box is started on what is left and
has to serve a good model, and the install has to be complete or to complete when it is asked for again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.clock import ManualClock
from appliance.errors import ApplianceError, NotFound
from bench.report import RESULTS, Row, Target, publish
from tests.crash.power import (
    Death,
    DieAt,
    Disk,
    FullFrom,
    cut_power,
    die_by_signal,
    die_here,
    in_a_child,
    small_tmpfs,
    unavailable,
)
from tests.crash.story import FIRST, SECOND, Outcome, Stage
from tests.simulators.attacks import ATTACKS
from tests.simulators.releases import NOW_MS

YEAR_S = 365 * 86_400
CLOCKS = {"clock at 2020": 1_577_836_800_000, "clock 10 years ahead": NOW_MS + 10 * YEAR_S * 1000}
LOUD = 5


@dataclass
class Tally:
    """What became of one kind of fault."""

    fault: str
    tried: int = 0
    well: int = 0
    skipped: str = ""
    versions: Counter[str] = field(default_factory=Counter)  # that served right after the start
    exceptions: list[str] = field(default_factory=list)

    def count(self, what: str, outcome: Outcome) -> None:
        self.tried += 1
        self.well += outcome.well
        self.versions[outcome.version or "none"] += 1
        if not outcome.well:
            self.exceptions.append(f"{what}: {outcome}")


@dataclass(frozen=True)
class Plan:
    """How many of each."""

    every_step: int  # 1 tries each step, n every n-th
    cuts: int  # power cuts at steps, and as many at random moments
    flips: int  # for each stored file


FULL = Plan(every_step=1, cuts=100, flips=3)
SHORT = Plan(every_step=12, cuts=4, flips=1)


def steps(stage: Stage, folder: Path) -> list[str]:
    """Every step of the story that changes the disk, by name."""
    counting = DieAt(None, die_here)
    stage.live(stage.fresh(folder / "count"), counting)
    return [f"{step} {path.name}" for step, path in counting.seen]


def deaths_in_process(stage: Stage, folder: Path, plan: Plan, names: list[str]) -> Tally:
    """The process ends before a step, and nothing that it would still do happens."""
    tally = Tally("process ends before a step")
    for number in range(0, len(names), plan.every_step):
        state = stage.fresh(folder / "state")
        with contextlib.suppress(Death, ApplianceError):
            stage.live(state, DieAt(number, die_here))
        tally.count(f"step {number} {names[number]}", stage.afterwards(state))
    return tally


def kills(stage: Stage, folder: Path, plan: Plan, names: list[str]) -> Tally:
    """SIGKILL before every write of a state, and at every other step that the plan says."""
    tally = Tally("kill -9 before a step")
    transitions = {n for n, name in enumerate(names) if "karyotype.classifier" in name}
    for number in sorted(transitions | set(range(0, len(names), plan.every_step))):
        state = stage.fresh(folder / "state")
        in_a_child(functools.partial(stage.live, state, DieAt(number, die_by_signal)))
        tally.count(f"step {number} {names[number]}", stage.afterwards(state))
    return tally


def power_cuts(stage: Stage, folder: Path, plan: Plan, names: list[str]) -> Iterator[Tally]:
    """Real power cuts on a loop-mounted ext4: at steps that are spread over all, and at random moments."""
    why = unavailable(folder)
    at_steps, at_random = Tally("power cut at a step (ext4)"), Tally("power cut at a random moment (ext4)")
    if why is not None:
        at_steps.skipped = at_random.skipped = why
        yield from (at_steps, at_random)
        return
    disk = Disk(folder / "disk.img", folder / "disk")
    disk.make()
    state = disk.mount / "state"
    try:
        for turn in range(plan.cuts):
            number = turn * len(names) // plan.cuts
            _renew(stage, disk)

            def cut() -> None:
                cut_power(disk.mount)
                os._exit(9)

            in_a_child(functools.partial(stage.live, state, DieAt(number, cut)))
            disk.after_the_cut()
            at_steps.count(f"step {number} {names[number]}", stage.afterwards(state))
        yield at_steps
        began_s = time.perf_counter()
        _renew(stage, disk)
        in_a_child(functools.partial(stage.live, state))
        whole_s = time.perf_counter() - began_s
        rng = random.Random(17)
        for turn in range(plan.cuts):
            _renew(stage, disk)
            moment_s = rng.uniform(0.0, whole_s)
            timer = threading.Timer(moment_s, cut_power, (disk.mount,))
            child = os.fork()
            if child == 0:
                try:
                    stage.live(state)
                finally:
                    os._exit(0)
            timer.start()
            timer.join()
            os.kill(child, 9)
            os.waitpid(child, 0)
            disk.after_the_cut()
            at_random.count(f"turn {turn} after {moment_s * 1000:.0f} ms", stage.afterwards(state))
        yield at_random
    finally:
        disk.unplug()


def full_disks(stage: Stage, folder: Path, plan: Plan, names: list[str]) -> Iterator[Tally]:
    """No room at a step and from there on; then a file system that really is too small."""
    injected = Tally("disk full from a step on")
    for number in range(0, len(names), plan.every_step):
        state = stage.fresh(folder / "state")
        served = _run_full(stage, state, FullFrom(number))
        outcome = stage.afterwards(state)
        injected.count(f"step {number} {names[number]}", _also(outcome, served))
    yield injected
    real = Tally("disk full (tmpfs of every size)")
    mount = folder / "small"
    try:
        for size_kib in range(760, 2300, 80 * min(plan.every_step, 5)):
            with small_tmpfs(mount, size_kib):
                try:
                    state = stage.fresh(mount / "state")
                except OSError:
                    continue  # not even the box before the install fits
                served = _run_full(stage, state, None)
                state = _copied(state, folder / "roomy")
            real.count(f"{size_kib} KiB", _also(stage.afterwards(state), served))
    except (OSError, ValueError) as exc:
        real.skipped = f"no tmpfs can be mounted here: {exc}"
    yield real


def bit_flips(stage: Stage, folder: Path, plan: Plan) -> Tally:
    """One bit in one stored file, of a box that has two releases."""
    tally = Tally("bit flip in a stored file")
    after = stage.fresh(folder / "after")
    stage.live(after)
    rng = random.Random(5)
    stored = sorted(path.relative_to(after) for path in (after / "releases").rglob("*") if path.is_file())
    for name in stored:
        for _ in range(plan.flips):
            state = _copied(after, folder / "state")
            data = bytearray((state / name).read_bytes())
            if not data:
                continue
            place = rng.randrange(len(data) * 8)
            data[place // 8] ^= 1 << place % 8
            (state / name).write_bytes(bytes(data))
            tally.count(f"{name} bit {place}", stage.afterwards(state))
    return tally


def clocks(stage: Stage, folder: Path) -> Iterator[Tally]:
    """The clock is wrong from the start to the end of the story, and then right."""
    for name, now_ms in CLOCKS.items():
        tally = Tally(name)
        state = stage.fresh(folder / "state")
        box = stage.box(state, clock=ManualClock(now_ms)).start()
        served = box.answers_well()
        try:
            stage.take(box, stage.second.folder)
        except ApplianceError:
            served = served and box.version == FIRST
        served = served and box.answers_well()
        box.close()
        tally.count(name, _also(stage.afterwards(state), served))
        yield tally


def attacks(folder: Path) -> Iterator[Tally]:
    """Each of TUF's attacks is offered; it is refused, and the honest release is taken afterwards."""
    for name, attack in ATTACKS.items():
        tally = Tally(f"attack: {name}")
        own = folder / name.replace(" ", "-")
        own.mkdir()
        stage = Stage(own)
        evil = attack(stage.second, own)
        state = stage.fresh(own / "state")
        clock = ManualClock(NOW_MS + 40 * 86_400_000) if name == "freeze" else ManualClock(NOW_MS)
        box = stage.box(state, clock=clock).start()
        if name == "rollback":  # the box has seen the newer state, and took nothing of it
            with contextlib.suppress(NotFound):
                box.install(stage.second.folder, release="nothing-0.0.0")
        refused = False
        try:
            stage.take(box, evil)
        except ApplianceError:
            refused = True
        served = box.answers_well() and box.version == FIRST
        box.close()
        outcome = _after_attack(stage, state, name)
        tally.count(name, _also(outcome, served and refused))
        yield tally


def _after_attack(stage: Stage, state: Path, name: str) -> Outcome:
    if name == "targets below threshold":  # the attacker had the online keys
        stage.second.replace_online_keys()
    if name in ("rollback", "mix and match"):  # the centre has published a further release meanwhile
        box = stage.box(state).start()
        served, version = box.answers_well(), box.version
        stage.take(box, stage.second.folder)
        completed = box.version == "1.5.0" and box.answers_well()
        box.close()
        return Outcome(served, version, completed)
    return stage.afterwards(state)


def _run_full(stage: Stage, state: Path, before_step: DieAt | None) -> bool:
    """The story on a full disk; whether the box answered well all the while."""
    box = stage.box(state, before_step)
    try:
        box.start()
    except ApplianceError:
        return False
    served = box.answers_well()
    with contextlib.suppress(ApplianceError):
        stage.take(box, stage.second.folder)
    served = served and box.answers_well()
    box.close()
    return served


def _also(outcome: Outcome, served: bool) -> Outcome:
    detail = outcome.detail if served else f"it did not serve during the fault; {outcome.detail}"
    return Outcome(outcome.served and served, outcome.version, outcome.completed, detail)


def _renew(stage: Stage, disk: Disk) -> None:
    stage.fresh(disk.mount / "state")
    os.sync()


def _copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target)


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Tally]:
    """All faults."""
    (folder / "stage").mkdir()
    (folder / "attacks").mkdir()
    stage = Stage(folder / "stage")
    names = steps(stage, folder)
    say(f"{len(names)} steps change the disk")
    tallies: list[Tally] = []

    def add(tally: Tally) -> None:
        tallies.append(tally)
        words = f"skipped: {tally.skipped}" if tally.skipped else f"{tally.well} of {tally.tried} well"
        say(f"{tally.fault}: {words}, served {dict(tally.versions)}")
        for line in tally.exceptions[:LOUD]:
            say(f"  {line}")

    add(deaths_in_process(stage, folder, plan, names))
    add(kills(stage, folder, plan, names))
    for tally in power_cuts(stage, folder, plan, names):
        add(tally)
    for tally in full_disks(stage, folder, plan, names):
        add(tally)
    add(bit_flips(stage, folder, plan))
    for tally in clocks(stage, folder):
        add(tally)
    for tally in attacks(folder / "attacks"):
        add(tally)
    return tallies


def report(tallies: list[Tally], folder: Path) -> None:
    """Write the table that docs/reliability.md shows."""
    tried, well = (sum(getattr(tally, name) for tally in tallies) for name in ("tried", "well"))
    bad = tried - well
    rows = [Row("exceptions to the promise", bad, "", tried, bad, bad, Target(0))]
    faults = [
        {
            "fault": tally.fault,
            "tried": tally.tried,
            "well": tally.well,
            "skipped": tally.skipped,
            "served_after_start": dict(tally.versions),
            "exceptions": tally.exceptions,
        }
        for tally in tallies
    ]
    publish("faults-releases", rows, {}, folder, {"faults": faults})


def main() -> None:
    """Exit status 1 where a single fault was an exception."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few of each; nothing is written")
    parser.add_argument("--output", type=Path, default=RESULTS, help="Folder of the JSON file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tallies = run(SHORT if options.short else FULL, Path(folder), lambda line: print(line, flush=True))
    if not options.short:
        report(tallies, options.output)
    bad = sum(tally.tried - tally.well for tally in tallies)
    print(f"{sum(tally.tried for tally in tallies)} faults, {bad} exceptions (releases {FIRST} → {SECOND})")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
