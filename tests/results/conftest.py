"""Made-up analyses and a store in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from appliance.results import ResultStore, Retention
from tests.simulators.analyses import DAY_MS

MakeStore = Callable[..., ResultStore]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_store(tmp_path: Path, clock: ManualClock) -> Iterator[MakeStore]:
    opened = []

    def make(max_age_ms: int = 30 * DAY_MS, max_bytes: int = 1 << 20) -> ResultStore:
        opened.append(ResultStore(tmp_path / "results.db", clock, Retention(max_age_ms, max_bytes)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()
