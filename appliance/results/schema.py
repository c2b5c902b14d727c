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


def migrate(db: Database) -> None:
    """Bring the tables up to this version; StorageUnavailable if a newer version made them."""
    known = {migration.name for migration in MIGRATIONS.pending(Database(memory=True))}
    newer = sorted({migration.name for migration in MIGRATIONS.applied(db)} - known)
    if newer:
        raise StorageUnavailable(f"a newer version of the appliance made this database: {', '.join(newer)}")
    MIGRATIONS.apply(db)
