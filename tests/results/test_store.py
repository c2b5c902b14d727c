from __future__ import annotations

import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.analysis import Film, Modality
from appliance.clock import ManualClock
from appliance.errors import NotFound, StorageUnavailable
from appliance.results import PageMark
from appliance.results.codec import decode, headline
from tests.results.conftest import MakeStore
from tests.simulators.analyses import DAY_MS, film_analysis, metaphase_analysis


def test_what_was_committed_comes_back(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store()
    for analysis in (metaphase_analysis(clock), film_analysis(clock)):
        summary = store.commit(analysis)
        back = store.get(analysis.result_id)
        assert back == analysis
        assert back.renderings == {}
        assert summary.created_ms == clock.now_ms()


def test_a_commit_outlives_the_process(make_store: MakeStore, clock: ManualClock) -> None:
    analysis = metaphase_analysis(clock)
    store = make_store()
    store.commit(analysis)
    cursor = store.newest_cursor
    store.close()
    again = make_store()
    assert again.get(analysis.result_id) == analysis
    assert again.newest_cursor == cursor


def test_commits_are_synced_and_private(make_store: MakeStore, clock: ManualClock, tmp_path: Path) -> None:
    store = make_store()
    store.commit(metaphase_analysis(clock))
    pragmas = store._db.conn
    assert pragmas.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert pragmas.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    files = list(tmp_path.glob("results.db*"))
    assert len(files) >= 2
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_an_unknown_id(make_store: MakeStore) -> None:
    with pytest.raises(NotFound, match="got 'nothing'"):
        make_store().get("nothing")


def test_the_same_id_twice_is_refused(make_store: MakeStore, clock: ManualClock) -> None:
    store, analysis = make_store(), metaphase_analysis(clock)
    store.commit(analysis)
    with pytest.raises(StorageUnavailable):
        store.commit(analysis)
    assert store.status().results == 1


def test_pages_are_newest_first_and_complete(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store()
    made = []
    for index in range(7):
        made.append(metaphase_analysis(clock).result_id)
        store.commit(replace(metaphase_analysis(clock), result_id=made[-1]))
        if index % 2:
            clock.advance(1.0)
    seen: list[str] = []
    mark = None
    while page := store.page(3, mark):
        seen += [summary.result_id for summary in page]
        mark = PageMark(page[-1].created_ms, page[-1].result_id)
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7
    assert [store.get(one).created_ms for one in seen] == sorted(
        (store.get(one).created_ms for one in made), reverse=True
    )


def test_pages_of_one_kind(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store()
    store.commit(metaphase_analysis(clock))
    film = film_analysis(clock)
    store.commit(film)
    assert [one.result_id for one in store.page(10, modality=Modality.CHEST_XRAY)] == [film.result_id]


def test_a_watcher_sees_every_commit_in_order(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store()
    first = store.commit(metaphase_analysis(clock))
    assert store.after(0, 10) == [first]
    assert not store.wait_for_news(first.cursor, 0.0)
    heard = threading.Event()
    watcher = threading.Thread(
        target=lambda: store.wait_for_news(first.cursor, 10.0) and heard.set(), daemon=True
    )
    watcher.start()
    second = store.commit(film_analysis(clock))
    assert heard.wait(10.0)
    watcher.join()
    assert store.after(first.cursor, 10) == [second]


def test_watchers_are_dismissed(make_store: MakeStore) -> None:
    store = make_store()
    answers: list[bool] = []
    watcher = threading.Thread(target=lambda: answers.append(store.wait_for_news(0, 60.0)))
    watcher.start()
    store.dismiss_watchers()
    watcher.join(10.0)
    assert answers == [False]
    assert store.dismissed


def test_results_beyond_the_age_go(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store(max_age_ms=2 * DAY_MS)
    store.commit(metaphase_analysis(clock))
    clock.advance(86_400 * 1.5)
    store.commit(metaphase_analysis(clock))
    assert store.prune() == 0
    clock.advance(86_400)
    assert store.prune() == 1
    assert store.status().results == 1
    assert store.prune() == 0


def test_the_oldest_make_room_within_the_bytes(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store(max_bytes=20_000)
    made = [metaphase_analysis(clock) for _ in range(30)]
    for analysis in made:
        store.commit(analysis)
    kept = store.status().results
    assert 2 < kept < 30
    assert [one.result_id for one in store.after(0, 100)] == [one.result_id for one in made[-kept:]]
    total = store._scalar("SELECT sum(size_bytes) FROM results")
    assert total <= 20_000
    assert total == store._total_bytes


def test_cursors_never_repeat(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store(max_age_ms=DAY_MS)
    last = store.commit(metaphase_analysis(clock)).cursor
    clock.advance(2 * 86_400)
    assert store.prune() == 1
    store.close()
    store = make_store(max_age_ms=DAY_MS)
    assert store.newest_cursor == last
    assert store.commit(metaphase_analysis(clock)).cursor > last


def test_a_full_disk_stores_nothing_and_says_so(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store(max_bytes=64 << 20)
    store.commit(metaphase_analysis(clock))
    connection = store._db.conn
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StorageUnavailable, match="full"):
        store.commit(metaphase_analysis(clock, number=400))
    assert store.status().results == 1
    connection.execute("PRAGMA max_page_count=100000")
    store.commit(metaphase_analysis(clock, number=400))
    assert store.status().results == 2


def test_the_probe_leaves_nothing(make_store: MakeStore) -> None:
    store = make_store()
    store.probe()
    store.probe()
    assert store._scalar("SELECT count(*) FROM probe") == 0


def test_a_closed_store_is_unavailable(make_store: MakeStore, clock: ManualClock) -> None:
    store = make_store()
    store.close()
    with pytest.raises(StorageUnavailable):
        store.commit(metaphase_analysis(clock))


def test_a_newer_versions_database_is_left_alone(make_store: MakeStore, tmp_path: Path) -> None:
    make_store().close()
    with sqlite3.connect(tmp_path / "results.db") as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('appliance.results', 'm999_future', 'later')"
        )
    connection.close()
    with pytest.raises(StorageUnavailable, match="m999_future"):
        make_store()


def test_a_folder_that_is_not_there(clock: ManualClock, tmp_path: Path) -> None:
    from appliance.results import ResultStore, Retention

    with pytest.raises(StorageUnavailable, match="cannot open"):
        ResultStore(tmp_path / "none" / "results.db", clock, Retention(1, 1))


def test_text_that_is_no_analysis() -> None:
    with pytest.raises(StorageUnavailable, match="expected a stored analysis"):
        decode(b'{"result_id": 3}')


def test_headlines(clock: ManualClock) -> None:
    assert headline(metaphase_analysis(clock)) == "3 chromosomes, no ISCN stated"
    assert headline(metaphase_analysis(clock, 1, "46,XX")) == "1 chromosome, 46,XX"
    assert headline(film_analysis(clock)) == "Cardiomegaly"
    assert headline(replace(film_analysis(clock), film=Film(()))) == "no finding above the threshold"
    with pytest.raises(ValueError, match="neither"):
        headline(replace(film_analysis(clock), film=None))
