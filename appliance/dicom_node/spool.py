"""The node's queue on disk: films that wait for the daemon and reports that wait for their destination.

One file each, complete and synced before it counts, 0600, deleted as soon as it is not needed. The files hold
patient data: they are all that the node ever writes.
"""

from __future__ import annotations

import enum
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from appliance.clock import TimeOrderedIds
from appliance.errors import LimitExceeded, StorageUnavailable

SUFFIX = ".dcm"


class Kind(enum.Enum):
    """What waits; the value is the name of its folder."""

    FILM = "films"  # for the daemon to analyse it
    REPORT = "reports"  # for the destination to take it


@dataclass(frozen=True)
class SpoolLimits:
    """How much may wait."""

    max_files: int
    max_bytes: int


class Spool:
    """A bounded queue that survives crashes and power cuts; safe to use from several threads.

    A report takes the place and the id of its film: the film goes only after the report is durable, so a
    crash between the two leaves both, and `open` then lets the film go.

    Args:
        folder: made where it is not there; only one spool may use it at a time.
        limits: of both kinds together.
        ids: names the files in the order of their arrival.
    """

    def __init__(self, folder: Path, limits: SpoolLimits, ids: TimeOrderedIds) -> None:
        self._folder = folder
        self._limits = limits
        self._ids = ids
        self._lock = threading.Lock()
        self._sizes: dict[tuple[Kind, str], int] = {}

    def open(self) -> None:
        """Find what waited when the node stopped; StorageUnavailable if the folder cannot be used."""
        try:
            for kind in Kind:
                place = self._folder / kind.value
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                for path in sorted(place.iterdir()):
                    if path.suffix == SUFFIX:
                        self._sizes[kind, path.stem] = path.stat().st_size
                    else:
                        path.unlink()  # was being written when the power went
            for name in self.waiting(Kind.REPORT):
                if (Kind.FILM, name) in self._sizes:
                    self._remove(Kind.FILM, name)
        except OSError as exc:
            raise StorageUnavailable(f"cannot use the queue in {self._folder}: {exc.strerror}") from exc

    def add_film(self, data: bytes) -> str:
        """Keep a film; its id. Raises LimitExceeded where the queue is full, StorageUnavailable."""
        return self._add(Kind.FILM, data, self._ids.next())

    def add_report(self, data: bytes, film: str | None = None) -> str:
        """Keep a report, and let the film with the id `film` go; its id. Raises like `add_film`."""
        name = self._add(Kind.REPORT, data, film or self._ids.next(), instead_of_film=film is not None)
        if film is not None:
            self.remove(Kind.FILM, film)
        return name

    def check_room(self, size_bytes: int) -> None:
        """LimitExceeded unless one more file of this size may wait."""
        with self._lock:
            self._check_room(size_bytes, 1)

    def waiting(self, kind: Kind) -> list[str]:
        """Ids, the oldest first."""
        with self._lock:
            return sorted(name for one, name in self._sizes if one is kind)

    def read(self, kind: Kind, name: str) -> bytes:
        """The file; StorageUnavailable if it cannot be read."""
        try:
            return self._path(kind, name).read_bytes()
        except OSError as exc:
            raise StorageUnavailable(f"cannot read a waiting file: {exc.strerror}") from exc

    def remove(self, kind: Kind, name: str) -> None:
        """Delete what is done with; StorageUnavailable if that fails."""
        try:
            with self._lock:
                self._remove(kind, name)
        except OSError as exc:
            raise StorageUnavailable(f"cannot delete a waiting file: {exc.strerror}") from exc

    @property
    def size_bytes(self) -> int:
        """Of all that waits."""
        with self._lock:
            return sum(self._sizes.values())

    def _add(self, kind: Kind, data: bytes, name: str, instead_of_film: bool = False) -> str:
        with self._lock:
            if not instead_of_film:  # its film makes room for it in a moment
                self._check_room(len(data), 1)
            path = self._path(kind, name)
            temporary = path.with_suffix(".part")
            try:
                descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(path)
                _sync_folder(path.parent)
            except OSError as exc:
                temporary.unlink(missing_ok=True)
                raise StorageUnavailable(f"cannot write to the queue: {exc.strerror}") from exc
            self._sizes[kind, name] = len(data)
        return name

    def _check_room(self, size_bytes: int, files: int) -> None:
        if len(self._sizes) + files > self._limits.max_files:
            raise LimitExceeded(
                f"expected at most {self._limits.max_files} files in the queue and it is full"
            )
        if sum(self._sizes.values()) + size_bytes > self._limits.max_bytes:
            raise LimitExceeded(
                f"expected at most {self._limits.max_bytes} bytes in the queue and it is full"
            )

    def _remove(self, kind: Kind, name: str) -> None:
        path = self._path(kind, name)
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
        self._sizes.pop((kind, name), None)

    def _path(self, kind: Kind, name: str) -> Path:
        return self._folder / kind.value / f"{name}{SUFFIX}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
