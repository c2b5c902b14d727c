"""Files that are no films, as they come off the wire: every one an answer, none a crash, none slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.client import ApplianceClient
from appliance.clock import Clock, TimeOrderedIds
from appliance.dicom_node.analyst import Analyst
from appliance.dicom_node.intake import (
    CANNOT_UNDERSTAND,
    MAX_COMMENT_CHARACTERS,
    NOT_OF_ITS_CLASS,
    SUCCESS,
    Intake,
    StoreStatus,
)
from appliance.dicom_node.spool import Kind, Spool, SpoolLimits
from tests.simulators.appliance import chest_dicom, film_png

LONGEST_S = 5.0


class Door:
    """An intake, and how long it took."""

    def __init__(self, folder: Path, daemon: ApplianceClient) -> None:
        self.spool = Spool(folder, SpoolLimits(10_000, 1 << 30), TimeOrderedIds(Clock()))
        self.spool.open()
        self._intake = Intake(Analyst(daemon), self.spool, 60.0, lambda: None, lambda: None)

    def store(self, film: bytes) -> StoreStatus:
        began_s = time.perf_counter()
        status = self._intake.store(film, "SCANNER at nowhere")
        assert time.perf_counter() - began_s < LONGEST_S
        return status


@pytest.fixture
def door(tmp_path: Path, daemon: ApplianceClient) -> Door:
    return Door(tmp_path, daemon)


@pytest.mark.parametrize(
    "data",
    [b"", b"rubbish", bytes(132), bytes(128) + b"DICM", film_png(), chest_dicom()[:4000]],
    ids=["empty", "rubbish", "zeros", "preamble", "png", "cut"],
)
def test_rubbish_is_refused(door: Door, data: bytes) -> None:
    status = door.store(data)
    assert status.code == CANNOT_UNDERSTAND
    assert 0 < len(status.comment) <= MAX_COMMENT_CHARACTERS
    assert door.spool.size_bytes == 0


def test_the_malformed_collection(door: Door, bad_input: Path) -> None:
    files = sorted((bad_input / "dicom").glob("*.dcm"))
    if not files:
        pytest.skip(f"{bad_input}/dicom holds no files")
    codes = [door.store(file.read_bytes()).code for file in files]
    assert set(codes) <= {SUCCESS, CANNOT_UNDERSTAND, NOT_OF_ITS_CLASS}
    assert codes.count(SUCCESS) == len(door.spool.waiting(Kind.REPORT))
    assert door.spool.waiting(Kind.FILM) == []
    assert door.store(chest_dicom()).stored
