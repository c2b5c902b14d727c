"""A file system that really is full: a tmpfs of 4 MiB."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from appliance.errors import StorageUnavailable
from appliance.results import ResultStore, Retention
from tests.simulators.analyses import DAY_MS, metaphase_analysis

MIB = 1 << 20
MNT_DETACH = 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    libc = ctypes.CDLL(None, use_errno=True)
    folder = tmp_path / "disk"
    folder.mkdir()
    target = os.fsencode(folder)
    if libc.mount(b"tmpfs", target, b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(target, MNT_DETACH) == 0


def fill(store: ResultStore, clock: ManualClock, stored: list[str]) -> None:
    for _ in range(10_000):
        analysis = metaphase_analysis(clock, number=46)
        store.commit(analysis)
        stored.append(analysis.result_id)


def test_nothing_is_lost_and_nothing_is_half_stored(small_disk: Path) -> None:
    clock = ManualClock()
    store = ResultStore(small_disk / "results.db", clock, Retention(DAY_MS, 64 * MIB))
    stored: list[str] = []
    with pytest.raises(StorageUnavailable):
        fill(store, clock, stored)
    assert len(stored) > 20
    assert store.status().results == len(stored)
    store.close()

    reopened = ResultStore(small_disk / "results.db", clock, Retention(DAY_MS, 1 * MIB))
    assert reopened.status().quarantined is None
    assert [summary.result_id for summary in reopened.after(0, 10_000)] == stored
    assert reopened.get(stored[-1]).spread is not None
    reopened.close()
