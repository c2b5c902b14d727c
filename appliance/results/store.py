"""The database of results: a commit is durable before it returns, and old results make room for new ones."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from appliance.analysis import Analysis, Modality
from appliance.clock import Clock
from appliance.errors import NotFound, StorageUnavailable
from appliance.results.codec import decode, encode, headline
from appliance.results.damage import damage_of, quarantine
from appliance.results.schema import migrate

LOG = logging.getLogger(__name__)
ROW_OVERHEAD_BYTES = 512
"""What a row costs beside its body: ids, headline, two indexes."""

WAL_LIMIT_BYTES = 16 << 20
FILE_HEADROOM = 1.5
"""The file may be this much larger than the sum of its rows before SQLite itself refuses to grow it."""

BUSY_TIMEOUT_S = 5.0
SUMMARY_COLUMNS = "cursor, result_id, request_id, modality, created_ms, headline"


Companion = Callable[[Database, Analysis], None]
"""Writes what belongs to a result, in the transaction that stores it."""


@dataclass(frozen=True)
class Retention:
    """How much is kept."""

    max_age_ms: int
    max_bytes: int  # sum over the results; the oldest go beyond it
    other_bytes: int = 0  # room in the same file for the tables beside the results


@dataclass(frozen=True)
class Summary:
    """One line about a result."""

    cursor: int  # position in the order of commits, strictly increasing
    result_id: str
    request_id: str
    modality: Modality
    created_ms: int  # Unix time in milliseconds
    headline: str


@dataclass(frozen=True)
class PageMark:
    """The last result of a page; the next page begins behind it."""

    created_ms: int
    result_id: str


@dataclass(frozen=True)
class StoreStatus:
    """What the technician sees of the database."""

    results: int
    size_bytes: int  # of the file and its write-ahead log
    limit_bytes: int
    quarantined: Path | None  # where a damaged database was put at the start


class ResultStore:
    """Results in one SQLite file (mode 0600) in write-ahead mode, every commit synced to the disk.

    A database that is found damaged at the start is moved to `quarantine/` and a new one is made.

    Args:
        path: the file; its folder exists.
        clock: for ages.
        retention: bounds.

    Raises:
        StorageUnavailable: the file cannot be opened or made, or a newer version wrote it.
    """

    def __init__(self, path: Path, clock: Clock, retention: Retention) -> None:
        self._path = path
        self._clock = clock
        self._retention = retention
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._dismissed = False
        self._quarantined: Path | None = None
        damage = damage_of(path)
        if damage is not None:
            self._quarantined = quarantine(path, clock.now_ms())
            LOG.error("the database of results is damaged and was put aside", extra={"damage": damage})
        with _storage_errors("open the database of results"):
            self._db = Database(_connect(path, retention))
            migrate(self._db)
            self._total_bytes = self._scalar("SELECT coalesce(sum(size_bytes), 0) FROM results")
            self._newest = self._scalar(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'results'"
            )

    def commit(self, analysis: Analysis, companion: Companion | None = None) -> Summary:
        """Make a result durable, in one transaction with the deletion of those that must make room for it.

        Args:
            analysis: the result.
            companion: writes rows of its own in the same transaction; if it raises, nothing is stored.

        Raises:
            StorageUnavailable: nothing was stored, for example because the disk is full.
        """
        body = encode(analysis)
        size_bytes = len(body) + ROW_OVERHEAD_BYTES
        line = headline(analysis)
        row = {
            "result_id": analysis.result_id,
            "request_id": analysis.request_id,
            "modality": analysis.modality.value,
            "created_ms": analysis.created_ms,
            "headline": line,
            "size_bytes": size_bytes,
            "body": body,
        }
        with self._lock:
            with _storage_errors("store the result"), self._db.atomic():
                freed_bytes = self._make_room(size_bytes)
                cursor = int(self._db.table("results").insert(row).last_rowid or 0)
                if companion is not None:
                    companion(self._db, analysis)
            # only now is it durable: the end of the transaction is the commit
            self._total_bytes += size_bytes - freed_bytes
            with self._news:
                self._newest = cursor
                self._news.notify_all()
        return Summary(
            cursor, analysis.result_id, analysis.request_id, analysis.modality, analysis.created_ms, line
        )

    def get(self, result_id: str) -> Analysis:
        """The result under an id; NotFound if there is none (any more)."""
        with self._lock, _storage_errors("read a result"):
            row = self._db.execute("SELECT body FROM results WHERE result_id = ?", [result_id]).fetchone()
        if row is None:
            raise NotFound(f"expected the id of a kept result and got {result_id[:64]!r}")
        return decode(row[0])

    @contextlib.contextmanager
    def transaction(self, what: str) -> Iterator[Database]:
        """One transaction on the tables beside the results; taken back whole if its body raises.

        Args:
            what: is done, for the sentence of an error: "read a case".

        Raises:
            StorageUnavailable: the database cannot do it.
        """
        with self._lock, _storage_errors(what), self._db.atomic():
            yield self._db

    def page(
        self, size: int, behind: PageMark | None = None, modality: Modality | None = None
    ) -> list[Summary]:
        """At most `size` results, newest first, beginning behind a mark; by creation, then by id."""
        where, values = ["1"], list[object]()
        if behind is not None:
            where.append("(created_ms, result_id) < (?, ?)")
            values += [behind.created_ms, behind.result_id]
        if modality is not None:
            where.append("modality = ?")
            values.append(modality.value)
        return self._summaries(
            f"WHERE {' AND '.join(where)} ORDER BY created_ms DESC, result_id DESC", values, size
        )

    def after(self, cursor: int, size: int) -> list[Summary]:
        """At most `size` results behind a cursor, in the order of their commits."""
        return self._summaries("WHERE cursor > ? ORDER BY cursor", [cursor], size)

    @property
    def newest_cursor(self) -> int:
        """Cursor of the newest commit, 0 before the first."""
        with self._news:
            return self._newest

    def wait_for_news(self, cursor: int, timeout_s: float) -> bool:
        """Block until a commit behind `cursor` exists; False when `timeout_s` passed without one."""
        with self._news:
            self._news.wait_for(lambda: self._newest > cursor or self._dismissed, timeout_s)
            return self._newest > cursor

    @property
    def dismissed(self) -> bool:
        """Whether `dismiss_watchers` was called."""
        with self._news:
            return self._dismissed

    def dismiss_watchers(self) -> None:
        """Let nobody wait for news any more: the daemon stops."""
        with self._news:
            self._dismissed = True
            self._news.notify_all()

    def prune(self) -> int:
        """Delete results older than the limit; how many went."""
        oldest_ms = self._clock.now_ms() - self._retention.max_age_ms
        select = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM results WHERE created_ms < ?"
        with self._lock:
            with _storage_errors("delete old results"), self._db.atomic():
                count, size_bytes = self._db.execute(select, [oldest_ms]).fetchone()
                self._db.execute("DELETE FROM results WHERE created_ms < ?", [oldest_ms])
            self._total_bytes -= size_bytes
        return int(count)

    def status(self) -> StoreStatus:
        """Counts and sizes."""
        with self._lock, _storage_errors("count the results"):
            results = self._scalar("SELECT count(*) FROM results")
        files = (self._path.with_name(self._path.name + companion) for companion in ("", "-wal"))
        return StoreStatus(
            results=results,
            size_bytes=sum(file.stat().st_size for file in files if file.exists()),
            limit_bytes=self._retention.max_bytes + self._retention.other_bytes,
            quarantined=self._quarantined,
        )

    def probe(self) -> None:
        """Write and sync one row and take it back; StorageUnavailable if that is not possible."""
        with self._lock, _storage_errors("write to the database of results"):
            self._db.execute("CREATE TABLE IF NOT EXISTS probe (written_ms INTEGER)")
            with self._db.atomic():
                self._db.execute("INSERT INTO probe VALUES (?)", [self._clock.now_ms()])
            with self._db.atomic():
                self._db.execute("DELETE FROM probe")

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with self._lock:
            self._db.close()

    def _make_room(self, size_bytes: int) -> int:
        freed_bytes = 0
        excess_bytes = self._total_bytes + size_bytes - self._retention.max_bytes
        if excess_bytes <= 0:
            return 0
        last = 0
        for cursor, row_bytes in self._db.execute("SELECT cursor, size_bytes FROM results ORDER BY cursor"):
            if freed_bytes >= excess_bytes:
                break
            last, freed_bytes = cursor, freed_bytes + row_bytes
        self._db.execute("DELETE FROM results WHERE cursor <= ?", [last])
        return freed_bytes

    def _summaries(self, clause: str, values: list[object], size: int) -> list[Summary]:
        sql = f"SELECT {SUMMARY_COLUMNS} FROM results {clause} LIMIT ?"
        with self._lock, _storage_errors("list the results"):
            rows = self._db.execute(sql, [*values, size]).fetchall()
        return [Summary(row[0], row[1], row[2], Modality(row[3]), row[4], row[5]) for row in rows]

    def _scalar(self, sql: str) -> int:
        row = self._db.execute(sql).fetchone()
        return int(row[0])


def _connect(path: Path, retention: Retention) -> sqlite3.Connection:
    # made here and not by SQLite, so that no moment exists in which others may read it
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnavailable(f"expected the file system to allow SQLite's WAL mode and got {mode!r}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    most_pages = int((retention.max_bytes + retention.other_bytes) * FILE_HEADROOM) // page_bytes + 64
    connection.execute(f"PRAGMA max_page_count={most_pages}")
    return connection


@contextlib.contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        LOG.error("cannot %s", what, extra={"reason": type(exc).__name__})
        raise StorageUnavailable(f"cannot {what}: {_reason(exc)}") from exc


def _reason(exc: sqlite3.Error | OSError) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or "input/output error"
    if "full" in str(exc):
        return "the disk or the database is full"
    return "the database is damaged" if "malformed" in str(exc) else "the database does not answer"
