"""A centre that publishes, and what a box needs to take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.box import SimulatedBox
from tests.simulators.linear import linear_pack, weights, write_exam
from tests.simulators.releases import Centre


@dataclass
class Fleet:
    """A centre with one release, and boxes."""

    folder: Path
    centre: Centre
    factory: Path
    exams: Path
    boxes: list[SimulatedBox]

    @property
    def source(self) -> Path:
        return self.centre.folder

    def box(self, **changes: Any) -> SimulatedBox:
        """A start of the box whose state directory is `state`."""
        given = {"state": self.folder / "state", "root": self.folder / "root.json"} | changes
        box = SimulatedBox(factory=self.factory, exams=self.exams, **given)
        self.boxes.append(box)
        return box

    def pack(self, version: str, seed: int = 2, **changes: Any) -> Path:
        changes.setdefault("matrix", weights(seed))
        return linear_pack(self.folder / "packs" / version, version, **changes)


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[Callable[[], Fleet]]:
    boxes: list[SimulatedBox] = []

    def make() -> Fleet:
        centre = Centre(tmp_path / "releases")
        (tmp_path / "root.json").write_bytes(centre.root)
        factory = linear_pack(tmp_path / "factory", "0.9.0", weights(1))
        return Fleet(tmp_path, centre, factory, write_exam(tmp_path / "exams"), boxes)

    yield make
    for box in boxes:
        box.close()


@pytest.fixture
def fleet(make_fleet: Callable[[], Fleet]) -> Fleet:
    """With the release 1.0.0."""
    fleet = make_fleet()
    fleet.centre.release(fleet.pack("1.0.0"), 1)
    return fleet
