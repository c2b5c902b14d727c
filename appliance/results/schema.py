"""The tables and how they came to be: every change is one more migration, never an edit of an old one."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from appliance.errors import StorageUnavailable

MIGRATIONS = Migrations("appliance.results")


@MIGRATIONS()
def m001_results(db: Database) -> None:
    """Results, newest last; `cursor` never repeats, so that a watcher cannot miss or see twice."""
    db.execute(
        """
        CREATE TABLE results (
            cursor INTEGER PRIMARY KEY AUTOINCREMENT,
            result_id TEXT NOT NULL UNIQUE,
            request_id TEXT NOT NULL,
            modality TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            headline TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            body BLOB NOT NULL
        )
        """
    )
    db.table("results").create_index(["created_ms", "result_id"])


@MIGRATIONS()
def m002_cases(db: Database) -> None:
    """Cases, their spreads (each with a copy of its result), and the reviewers' events, only ever added."""
    db.execute(
        """
        CREATE TABLE cases (
            case_id TEXT PRIMARY KEY,
            reference TEXT NOT NULL,
            kind TEXT NOT NULL,
            exclude_share REAL,
            opened_ms INTEGER NOT NULL,
            changed_ms INTEGER NOT NULL,
            closed_ms INTEGER,
            size_bytes INTEGER NOT NULL
        )
        """
    )
    db.table("cases").create_index(["opened_ms", "case_id"])
    db.execute(
        """
        CREATE TABLE case_spreads (
            case_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            result_id TEXT NOT NULL,
            request_id TEXT NOT NULL,
            image_sha256 TEXT NOT NULL,
            added_ms INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            standing BLOB NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (case_id, number),
            UNIQUE (case_id, result_id)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE review_events (
            case_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (case_id, number, revision)
        )
        """
    )


def migrate(db: Database) -> None:
    """Bring the tables up to this version; StorageUnavailable if a newer version made them."""
    known = {migration.name for migration in MIGRATIONS.pending(Database(memory=True))}
    newer = sorted({migration.name for migration in MIGRATIONS.applied(db)} - known)
    if newer:
        raise StorageUnavailable(f"a newer version of the appliance made this database: {', '.join(newer)}")
    MIGRATIONS.apply(db)
