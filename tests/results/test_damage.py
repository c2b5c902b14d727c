from __future__ import annotations

import logging
from pathlib import Path

import pytest

from appliance.clock import ManualClock
from appliance.results.damage import MAX_QUARANTINED, damage_of, quarantine
from tests.results.conftest import MakeStore
from tests.simulators.analyses import metaphase_analysis


def spoil(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 4096)


@pytest.fixture
def database(make_store: MakeStore, clock: ManualClock, tmp_path: Path) -> Path:
    store = make_store()
    for _ in range(20):
        store.commit(metaphase_analysis(clock))
    store.close()
    return tmp_path / "results.db"


def test_a_sound_database(database: Path) -> None:
    assert damage_of(database) is None
    assert damage_of(database.with_name("none.db")) is None


@pytest.mark.parametrize("offset", [0, 3 * 4096])
def test_a_damaged_database_is_put_aside_and_a_new_one_made(
    database: Path, make_store: MakeStore, clock: ManualClock, caplog: pytest.LogCaptureFixture, offset: int
) -> None:
    spoil(database, offset)
    assert damage_of(database)
    spoilt = database.read_bytes()
    with caplog.at_level(logging.ERROR):
        store = make_store()
    status = store.status()
    assert "put aside" in caplog.text
    assert status.results == 0
    assert status.quarantined is not None
    assert status.quarantined.read_bytes() == spoilt
    store.commit(metaphase_analysis(clock))
    store.close()
    again = make_store()
    assert again.status().quarantined is None
    assert again.status().results == 1


def test_a_file_that_was_cut_off(database: Path, make_store: MakeStore) -> None:
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)
    assert make_store().status().quarantined is not None


def test_only_the_newest_damaged_databases_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    for now_ms in range(1000, 1000 + MAX_QUARANTINED + 2):
        path.write_bytes(b"rubbish")
        path.with_name("results.db-wal").write_bytes(b"more")
        quarantine(path, now_ms)
    kept = sorted(file.name for file in (tmp_path / "quarantine").iterdir())
    assert len(kept) == 2 * MAX_QUARANTINED
    assert kept[-1] == f"results-{1000 + MAX_QUARANTINED + 1}.db-wal"
