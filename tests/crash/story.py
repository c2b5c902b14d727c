"""The story that every fault interrupts: a box with one confirmed release takes the next one and confirms it.

After each fault the box is started again on what is left, and has to answer well; then the same install is
asked for once more, and has to come to its end; and a rollback has to lead to a good model again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.bundles.durable import DurableFiles
from appliance.clock import ManualClock
from appliance.errors import ApplianceError
from tests.simulators.box import SimulatedBox
from tests.simulators.linear import ROLE, linear_pack, weights, write_exam
from tests.simulators.releases import Centre

FACTORY, FIRST, SECOND = "0.9.0", "1.0.0", "1.1.0"
PADDING = 600_000
"""Bytes of ballast in each graph: a few chunks, shared between the two releases."""


@dataclass(frozen=True)
class Outcome:
    """What was found after a fault."""

    served: bool  # a good model answered right after the start
    version: str  # which one
    completed: bool  # the install had come to its end, or did so when it was asked for again
    detail: str = ""

    @property
    def well(self) -> bool:
        """No exception to the promise."""
        return self.served and self.completed


class Stage:
    """Everything outside of the box, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = Centre(folder / "first")
        self.root = folder / "root.json"
        self.root.write_bytes(self.first.root)
        self.factory = linear_pack(folder / "factory", FACTORY, weights(1))
        self.exams = write_exam(folder / "exams")
        self.first.release(linear_pack(folder / "pack-1", FIRST, weights(2), PADDING), 1)
        self.second = Centre.__new__(Centre)
        shutil.copytree(self.first.folder, folder / "second")
        self.second.folder, self.second.keys, self.second.now = (
            folder / "second",
            self.first.keys,
            self.first.now,
        )
        self.second.release(linear_pack(folder / "pack-2", SECOND, weights(3), PADDING), 2)
        self.template = folder / "template"
        box = self.box(self.template).start()
        self.take(box, self.first.folder)
        box.close()

    def box(
        self,
        state: Path,
        before_step: Callable[[str, Path], None] | None = None,
        clock: ManualClock | None = None,
        **settings: Any,
    ) -> SimulatedBox:
        """A start of the daemon on a state directory."""
        files = DurableFiles(before_step) if before_step is not None else DurableFiles()
        return SimulatedBox(
            state, self.root, self.factory, self.exams, files, clock, **({"max_starts": 100} | settings)
        )

    def fresh(self, state: Path) -> Path:
        """The state directory of a box that serves the first release, confirmed."""
        shutil.rmtree(state, ignore_errors=True)
        return shutil.copytree(self.template, state)

    def take(self, box: SimulatedBox, source: Path) -> None:
        """Install, serve, confirm."""
        box.install(source)
        box.serve(25)
        box.updates.tick()

    def live(self, state: Path, before_step: Callable[[str, Path], None] | None = None) -> None:
        """The story itself, from a start to the confirmation."""
        box = self.box(state, before_step).start()
        self.take(box, self.second.folder)
        box.close()

    def afterwards(self, state: Path) -> Outcome:
        """Start the box on what is left, ask it, and repeat the install."""
        box = self.box(state)
        try:
            box.start()
            served, version = box.answers_well(), box.version
            detail = ""
            if version not in (FACTORY, FIRST, SECOND):
                served, detail = False, f"unknown version {version!r}"
            try:
                if not self.done(box):
                    self.take(box, self.second.folder)
                completed = self.done(box) and box.answers_well()
                box.updates.roll_back(ROLE, "tester", lambda _event: None)
                if not box.answers_well():
                    completed, detail = False, "no good model after a rollback"
            except ApplianceError as exc:
                completed, detail = False, str(exc)
        finally:
            box.close()
        return Outcome(served, version, completed, detail)

    def done(self, box: SimulatedBox) -> bool:
        """Whether the second release serves, confirmed, with every byte of it as signed."""
        box.serve(25)
        box.updates.tick()
        wrong = [
            check
            for check in box.updates.verify()
            if not check.passed and check.name.startswith("what serves")
        ]
        confirmed = all(one.record.confirmed for one in box.updates.installed())
        return box.version == SECOND and confirmed and not wrong
