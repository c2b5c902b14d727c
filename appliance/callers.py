"""Who may call: the roles of callers, and the file of tokens that prove them.

A token is 32 random bytes, so its SHA-256 tells nothing about it and needs no salt. Only the hash is kept.
The file is read anew whenever it has changed: a token that was taken away counts no more from the next call
on.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from appliance.errors import AlreadyExists, LimitExceeded, NotFound, StorageUnavailable

MAX_TOKENS = 256
MAX_FILE_BYTES = 1 << 18
TOKEN_BYTES = 32
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class CallerRole(enum.Enum):
    """What a caller is here for; one may have several roles."""

    DEVICE = "device"  # a microscope, a scanner, viewing software: sends images, reads results
    REVIEWER = "reviewer"  # an expert: reads results, corrects them
    TECHNICIAN = "technician"  # looks after the box: self-test, signed updates
    OPS = "ops"  # central operations: takes models in and out of service


@dataclass(frozen=True)
class Caller:
    """Who calls."""

    name: str  # of a token, or the address; what a caller registers is kept under it
    roles: frozenset[CallerRole]


class TokenEntry(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    roles: Annotated[frozenset[CallerRole], Field(min_length=1)]


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Annotated[tuple[TokenEntry, ...], Field(max_length=MAX_TOKENS)] = ()


class TokenFile:
    """The tokens that a box knows.

    Args:
        path: the file, which need not be there; its folder must.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._by_hash: dict[str, TokenEntry] = {}

    def find(self, token: str) -> TokenEntry | None:
        """What is kept of a token; None if it is none of this box.

        Raises:
            StorageUnavailable: the file cannot be read, or others may write to it.
        """
        with self._lock:
            status = self._status()
            seen = (status.st_ctime_ns, status.st_size, status.st_ino) if status is not None else None
            if seen != self._seen:
                self._by_hash = {entry.sha256: entry for entry in self.entries()}
                self._seen = seen
            return self._by_hash.get(_sha256(token))

    def entries(self) -> tuple[TokenEntry, ...]:
        """All tokens, by name; StorageUnavailable as for `find`."""
        status = self._status()
        if status is None:
            return ()
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o022:
            raise StorageUnavailable(
                f"expected a token file {self._path.name} that the daemon's user alone may write to"
            )
        try:
            if status.st_size > MAX_FILE_BYTES:
                raise StorageUnavailable(
                    f"expected a token file of at most {MAX_FILE_BYTES} bytes and got {status.st_size}"
                )
            content = _Content.model_validate_json(self._path.read_bytes())
        except OSError as exc:
            raise StorageUnavailable(f"cannot read the token file: {exc.strerror}") from exc
        except ValidationError as exc:
            raise StorageUnavailable(
                f"expected a token file as `appliance token` writes it and got one with {exc.error_count()}"
                " mistakes"
            ) from exc
        return tuple(sorted(content.tokens, key=lambda entry: entry.name))

    def add(self, name: str, roles: frozenset[CallerRole]) -> str:
        """Make a token and keep its hash; the token itself, which nobody can ask for again.

        Raises:
            AlreadyExists, LimitExceeded: the name is taken; there are MAX_TOKENS tokens.
            StorageUnavailable: the file cannot be read or written.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._changing():
            entries = self.entries()
            if name in {entry.name for entry in entries}:
                raise AlreadyExists(f"a token {name} exists already; remove it first")
            if len(entries) >= MAX_TOKENS:
                raise LimitExceeded(f"expected fewer than {MAX_TOKENS} tokens and got one more")
            self._write((*entries, TokenEntry(name=name, sha256=_sha256(token), roles=roles)))
        return token

    def remove(self, name: str) -> None:
        """Forget a token; NotFound if there is none of that name, StorageUnavailable as for `add`."""
        with self._changing():
            entries = self.entries()
            left = tuple(entry for entry in entries if entry.name != name)
            if len(left) == len(entries):
                names = ", ".join(entry.name for entry in entries) or "none at all"
                raise NotFound(f"expected the name of a token ({names}) and got {name[:64]!r}")
            self._write(left)

    def _status(self) -> os.stat_result | None:
        try:
            return self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageUnavailable(f"cannot read the token file: {exc.strerror}") from exc

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, whichever process makes it."""
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise StorageUnavailable(f"cannot use {self._path.parent}: {exc.strerror}") from exc
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, entries: tuple[TokenEntry, ...]) -> None:
        text = _Content(tokens=entries).model_dump_json(indent=2)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                if os.geteuid() == 0:  # a person with sudo writes for the daemon's user
                    owner = self._path.parent.stat()
                    os.chown(temporary, owner.st_uid, owner.st_gid)
                Path(temporary).replace(self._path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise StorageUnavailable(f"cannot write the token file: {exc.strerror}") from exc


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
