"""Cases at rest: in the database of results, every change one transaction, events only ever added."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from appliance.analysis import Analysis
from appliance.cases.edits import ReviewEvent
from appliance.cases.notation import CaseKind
from appliance.cases.records import (
    CaseRecord,
    SpreadFile,
    SpreadRecord,
    Standing,
    decode_event,
    decode_standing,
    encode_event,
    encode_standing,
)
from appliance.cases.settings import CaseLimits
from appliance.clock import Clock
from appliance.errors import AlreadyExists, Conflict, LimitExceeded, NotFound, WrongState
from appliance.results import PageMark, ResultStore
from appliance.results.codec import decode, encode

LOG = logging.getLogger(__name__)
ROW_OVERHEAD_BYTES = 512
RETRY_S = 60.0
MIB = 1 << 20
CASE_COLUMNS = """case_id, reference, kind, exclude_share, opened_ms, changed_ms, closed_ms,
    (SELECT count(*) FROM case_spreads s WHERE s.case_id = cases.case_id),
    (SELECT count(*) FROM case_spreads s WHERE s.case_id = cases.case_id
        AND json_extract(s.standing, '$.cell.state') = 'approved')"""


class CaseLedger:
    """The tables of cases in the database of results.

    Args:
        store: holds the database.
        clock: for ages.
        limits: bounds.
    """

    def __init__(self, store: ResultStore, clock: Clock, limits: CaseLimits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits

    def open(self, case: CaseRecord) -> None:
        """Begin a case; LimitExceeded where too many are open."""
        with self._store.transaction("open a case") as db:
            number = _scalar(db, "SELECT count(*) FROM cases WHERE closed_ms IS NULL")
            if number >= self._limits.max_open:
                raise LimitExceeded(
                    f"expected fewer than {self._limits.max_open} open cases and got {number}: close some",
                    RETRY_S,
                )
            self._make_room(db, ROW_OVERHEAD_BYTES, case.case_id)
            db.execute(
                "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                [
                    case.case_id,
                    case.reference,
                    case.kind.value,
                    case.exclude_share,
                    case.opened_ms,
                    case.changed_ms,
                    ROW_OVERHEAD_BYTES,
                ],
            )

    def check_open(self, case_id: str) -> None:
        """NotFound or WrongState unless spreads can be added to the case."""
        with self._store.transaction("read a case") as db:
            self._check_room(db, case_id)

    def add(self, case_id: str, analysis: Analysis, standing: Standing) -> SpreadRecord:
        """Add a spread, in a transaction of its own; errors as in `write_spread`."""
        with self._store.transaction("add a spread to a case") as db:
            return self.write_spread(db, case_id, analysis, standing)

    def write_spread(
        self, db: Database, case_id: str, analysis: Analysis, standing: Standing
    ) -> SpreadRecord:
        """Add a spread, in the transaction that `db` is in.

        Raises:
            NotFound, WrongState: no such case, or it is closed.
            AlreadyExists: the case has this spread already; a cell counted twice would falsify it.
            LimitExceeded: the case, or the room for cases, is full.
        """
        self._check_room(db, case_id)
        twin = db.execute(
            "SELECT number FROM case_spreads WHERE case_id = ?"
            " AND (result_id = ? OR (image_sha256 = ? AND image_sha256 <> ''))",
            [case_id, analysis.result_id, analysis.image_sha256],
        ).fetchone()
        if twin is not None:
            raise AlreadyExists(
                f"expected a spread that the case does not have and got its spread {twin[0]} again"
            )
        body = encode(analysis)
        size_bytes = len(body) + 2 * ROW_OVERHEAD_BYTES
        self._make_room(db, size_bytes, case_id)
        number = _scalar(
            db, "SELECT coalesce(max(number), 0) + 1 FROM case_spreads WHERE case_id = ?", case_id
        )
        now_ms = self._clock.now_ms()
        db.execute(
            "INSERT INTO case_spreads VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
            [
                case_id,
                number,
                analysis.result_id,
                analysis.request_id,
                analysis.image_sha256,
                now_ms,
                encode_standing(_numbered(standing, number)),
                body,
            ],
        )
        _touch(db, case_id, now_ms, size_bytes)
        return SpreadRecord(
            number, analysis.result_id, analysis.request_id, now_ms, 0, _numbered(standing, number)
        )

    def close(self, case_id: str) -> None:
        """End a case; WrongState if it was closed before."""
        with self._store.transaction("close a case") as db:
            self._check_open(db, case_id)
            now_ms = self._clock.now_ms()
            db.execute("UPDATE cases SET closed_ms = ? WHERE case_id = ?", [now_ms, case_id])
            _touch(db, case_id, now_ms, 0)

    def get(self, case_id: str) -> tuple[CaseRecord, list[SpreadRecord]]:
        """A case and its spreads in order; NotFound."""
        with self._store.transaction("read a case") as db:
            row = db.execute(f"SELECT {CASE_COLUMNS} FROM cases WHERE case_id = ?", [case_id]).fetchone()
            if row is None:
                raise _no_case(case_id)
            spreads = db.execute(
                "SELECT number, result_id, request_id, added_ms, revision, standing FROM case_spreads"
                " WHERE case_id = ? ORDER BY number",
                [case_id],
            ).fetchall()
        return _case(row), [_spread(one) for one in spreads]

    def page(self, size: int, behind: PageMark | None = None, only_open: bool = False) -> list[CaseRecord]:
        """At most `size` cases, newest first, beginning behind a mark (its id is a case's)."""
        where, values = ["1"], list[object]()
        if behind is not None:
            where.append("(opened_ms, case_id) < (?, ?)")
            values += [behind.created_ms, behind.result_id]
        if only_open:
            where.append("closed_ms IS NULL")
        sql = (
            f"SELECT {CASE_COLUMNS} FROM cases WHERE {' AND '.join(where)}"
            " ORDER BY opened_ms DESC, case_id DESC LIMIT ?"
        )
        with self._store.transaction("list the cases") as db:
            rows = db.execute(sql, [*values, size]).fetchall()
        return [_case(row) for row in rows]

    def spread(self, case_id: str, number: int) -> SpreadFile:
        """A spread with its result and all events; NotFound."""
        with self._store.transaction("read a spread of a case") as db:
            row = db.execute(
                "SELECT body FROM case_spreads WHERE case_id = ? AND number = ?", [case_id, number]
            ).fetchone()
            if row is None:
                raise NotFound(f"expected the number of a spread of a kept case and got {number}")
            events = db.execute(
                "SELECT body FROM review_events WHERE case_id = ? AND number = ? ORDER BY revision",
                [case_id, number],
            ).fetchall()
        return SpreadFile(decode(row[0]), tuple(decode_event(one[0]) for one in events))

    def append(self, case_id: str, number: int, event: ReviewEvent, standing: Standing) -> None:
        """Add a set of edits to a spread's events.

        Raises:
            Conflict: the spread has another revision than the one before the event's.
            NotFound, WrongState: no such spread, or the case is closed.
            LimitExceeded: the spread has as many sets as one may, or the room for cases is full.
        """
        if event.revision > self._limits.max_revisions:
            raise LimitExceeded(
                f"expected at most {self._limits.max_revisions} sets of edits of one spread and got another",
                RETRY_S,
            )
        body = encode_event(event)
        with self._store.transaction("store a review") as db:
            self._check_open(db, case_id)
            changed = db.execute(
                "UPDATE case_spreads SET revision = ?, standing = ?"
                " WHERE case_id = ? AND number = ? AND revision = ?",
                [event.revision, encode_standing(standing), case_id, number, event.revision - 1],
            )
            if changed.rowcount != 1:
                raise Conflict(f"expected revision {event.revision - 1} to be the newest and it is not")
            size_bytes = len(body) + ROW_OVERHEAD_BYTES
            self._make_room(db, size_bytes, case_id)
            db.execute(
                "INSERT INTO review_events VALUES (?, ?, ?, ?)", [case_id, number, event.revision, body]
            )
            _touch(db, case_id, event.at_ms, size_bytes)

    def standings(self) -> Iterator[Standing]:
        """Of every spread of every kept case."""
        with self._store.transaction("read the cases") as db:
            rows = db.execute("SELECT standing FROM case_spreads ORDER BY case_id, number").fetchall()
        return (decode_standing(row[0]) for row in rows)

    def prune(self) -> int:
        """Delete cases that nobody changed for longer than the limit; how many went."""
        oldest_ms = self._clock.now_ms() - self._limits.max_age_ms
        with self._store.transaction("delete old cases") as db:
            rows = db.execute("SELECT case_id FROM cases WHERE changed_ms < ?", [oldest_ms]).fetchall()
            for row in rows:
                _delete(db, row[0])
        return len(rows)

    def _check_open(self, db: Database, case_id: str) -> None:
        row = db.execute("SELECT closed_ms FROM cases WHERE case_id = ?", [case_id]).fetchone()
        if row is None:
            raise _no_case(case_id)
        if row[0] is not None:
            raise WrongState("expected an open case and got one that is closed")

    def _check_room(self, db: Database, case_id: str) -> None:
        self._check_open(db, case_id)
        number = _scalar(db, "SELECT count(*) FROM case_spreads WHERE case_id = ?", case_id)
        if number >= self._limits.max_spreads:
            raise LimitExceeded(
                f"expected fewer than {self._limits.max_spreads} spreads in a case and got {number}", RETRY_S
            )

    def _make_room(self, db: Database, size_bytes: int, keep: str) -> None:
        """Delete the oldest closed cases until so much more fits; LimitExceeded if open ones take it all."""
        excess = (
            _scalar(db, "SELECT coalesce(sum(size_bytes), 0) FROM cases")
            + size_bytes
            - self._limits.max_bytes
        )
        if excess <= 0:
            return
        closed = db.execute(
            "SELECT case_id, size_bytes FROM cases WHERE closed_ms IS NOT NULL AND case_id <> ?"
            " ORDER BY closed_ms",
            [keep],
        ).fetchall()
        for case_id, case_bytes in closed:
            if excess <= 0:
                break
            _delete(db, case_id)
            excess -= case_bytes
            LOG.warning("a closed case went to make room", extra={"case": case_id})
        if excess > 0:
            raise LimitExceeded(
                f"expected cases of at most {self._limits.max_bytes // MIB} MiB and got more: close some",
                RETRY_S,
            )


def _numbered(standing: Standing, number: int) -> Standing:
    return replace(standing, cell=replace(standing.cell, number=number))


def _case(row: tuple[Any, ...]) -> CaseRecord:
    return CaseRecord(row[0], row[1], CaseKind(row[2]), *row[3:])


def _spread(row: tuple[Any, ...]) -> SpreadRecord:
    number, result_id, request_id, added_ms, revision, standing = row
    return SpreadRecord(number, result_id, request_id, added_ms, revision, decode_standing(standing))


def _no_case(case_id: str) -> NotFound:
    return NotFound(f"expected the id of a kept case and got {case_id[:64]!r}")


def _touch(db: Database, case_id: str, now_ms: int, more_bytes: int) -> None:
    db.execute(
        "UPDATE cases SET changed_ms = ?, size_bytes = size_bytes + ? WHERE case_id = ?",
        [now_ms, more_bytes, case_id],
    )


def _delete(db: Database, case_id: str) -> None:
    for table in ("review_events", "case_spreads", "cases"):
        db.execute(f"DELETE FROM {table} WHERE case_id = ?", [case_id])


def _scalar(db: Database, sql: str, *values: object) -> int:
    return int(db.execute(sql, list(values)).fetchone()[0])
