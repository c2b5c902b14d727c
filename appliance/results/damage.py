"""A damaged database file is put aside, never deleted in silence and never served from."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from appliance.errors import StorageUnavailable

MAX_QUARANTINED = 3
"""Damaged databases that are kept for a look; the oldest goes first."""

COMPANIONS = ("", "-wal", "-shm")
"""SQLite's files beside the database itself (sqlite.org/tempfiles.html)."""


def damage_of(path: Path) -> str | None:
    """What is wrong with the database at `path`, or None if it is sound or not there.

    Runs SQLite's quick_check, which reads every page. StorageUnavailable if the file cannot be opened at all.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as exc:  # no rights, no disk: nothing is known about the content
        raise StorageUnavailable("cannot open the database of results") from exc
    except sqlite3.DatabaseError as exc:
        return str(exc)
    verdict = str(rows[0][0]) if rows else "no answer"
    return None if verdict == "ok" else verdict


def quarantine(path: Path, now_ms: int) -> Path:
    """Move the database and its companions into `quarantine/` beside it, and return where it lies now."""
    folder = path.parent / "quarantine"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{path.stem}-{now_ms}{path.suffix}"
    for companion in COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(target.with_name(target.name + companion))
    kept = sorted(folder.glob(f"{path.stem}-*{path.suffix}"))
    for oldest in kept[:-MAX_QUARANTINED]:
        for companion in COMPANIONS:
            oldest.with_name(oldest.name + companion).unlink(missing_ok=True)
    return target
